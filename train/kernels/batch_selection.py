"""The `count` largest of ReLU(pre) over all rows, in two looks, with no wait of the host.

As in selection.py, only `count` of the groups of neighbouring latents can hold one of the largest values. The first
look writes the maximum of every group; the count-th largest maximum is found digit by digit from histograms, whose
integers come out alike in whatever order they are added. The second look does the same with the members of the chosen
groups.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of
from train.kernels.selection import bits_of, group_maxima, lowest_bit

SIZE = 32  # latents of a group
BINS = 256  # of a histogram: values of one digit
AT_ONCE = 4096  # integers that a program counts


class Bound(NamedTuple):
    """Where the largest end; both on the device."""

    kth: Tensor  # int32 [1]: the smallest of them
    left: Tensor  # int32 [1]: how many of those equal to it belong to them


def serves(rows: int, n: int, count: int) -> bool:
    """Tell whether so few are asked for that a first look at groups leaves most of them out."""
    return 4 * count <= rows * (n // SIZE)


def largest(pre: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest of ReLU(pre) in pre.flatten(), int64, ascending.

    Any may be chosen among equal values, the same ones every time.
    """
    n = pre.shape[1]
    lowest = lowest_bit(pre)
    maxima = group_maxima(pre, SIZE)
    groups = maxima.shape[1]
    chosen = _places(maxima.flatten(), count, lowest)
    bits = torch.empty(count, SIZE, dtype=torch.int32, device=pre.device)
    with on_device_of(pre):
        _members[(triton.cdiv(count, 128),)](pre, chosen, bits, count, n, groups, SIZE=SIZE, AT_ONCE=128)
    found = _places(bits.flatten(), count, lowest)
    group = chosen[found // SIZE]
    return group // groups * n + group % groups * SIZE + found % SIZE


def bound_of(bits: Tensor, count: int, lowest: int) -> Bound:
    """Find the count-th largest of integers, of which those below zero do not count; `lowest`: see `lowest_bit`."""
    kth = torch.zeros(1, dtype=torch.int32, device=bits.device)
    left = torch.full((1,), count, dtype=torch.int32, device=bits.device)
    top = 31
    with on_device_of(bits):
        while top > lowest:
            shift = max(lowest, top - 8)
            histogram = torch.zeros(BINS, dtype=torch.int32, device=bits.device)
            grid = (triton.cdiv(len(bits), AT_ONCE),)
            _count[grid](bits, kth, histogram, len(bits), shift, top, BINS=BINS, AT_ONCE=AT_ONCE)
            _next_digit[(1,)](histogram, kth, left, shift, BINS=BINS)
            top = shift
    return Bound(kth, left)


def _places(bits: Tensor, count: int, lowest: int) -> Tensor:
    """Return where the `count` largest are, ascending; the first among equal ones."""
    kth, left = bound_of(bits, count, lowest)
    blocks = triton.cdiv(len(bits), AT_ONCE)
    counts = torch.empty(2, blocks, dtype=torch.int32, device=bits.device)  # above the bound, and equal to it
    places = torch.empty(count, dtype=torch.int64, device=bits.device)
    with on_device_of(bits):
        _count_block[(blocks,)](bits, kth, counts, len(bits), AT_ONCE=AT_ONCE)
        sums = counts.cumsum(1, dtype=torch.int32)
        _list_block[(blocks,)](bits, kth, left, counts, sums, places, len(bits), AT_ONCE=AT_ONCE)
    return places


@no_type_check
@triton.jit
def _members(pre, chosen, bits, count, n, groups, SIZE: tl.constexpr, AT_ONCE: tl.constexpr):
    """Write the members of the chosen groups as integers, -1 beyond a row's end."""
    slot = tl.program_id(0) * AT_ONCE + tl.arange(0, AT_ONCE)
    group = tl.load(chosen + slot, mask=slot < count, other=0)
    column = (group % groups)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    here = (slot < count)[:, None] & (column < n)
    value = tl.load(pre + (group // groups)[:, None] * n + column, mask=here, other=0.0)
    place = slot.to(tl.int64)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    tl.store(bits + place, tl.where(here, bits_of(value), -1), mask=(slot < count)[:, None])


@no_type_check
@triton.jit
def _count(bits, kth, histogram, size, shift, top, BINS: tl.constexpr, AT_ONCE: tl.constexpr):
    """Count the digit in bits [shift, top) of the integers that agree with `kth` above it."""
    at = tl.program_id(0).to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    value = tl.load(bits + at, mask=at < size, other=-1)
    # two shifts: one by 32 is no shift
    agrees = (value >= 0) & (((value >> (top - 1)) >> 1) == ((tl.load(kth) >> (top - 1)) >> 1))
    digit = tl.where(agrees, (value >> shift) & ((1 << (top - shift)) - 1), BINS)
    counts = tl.histogram(digit, 2 * BINS)
    place = tl.arange(0, 2 * BINS)
    tl.atomic_add(histogram + place, counts, mask=(place < BINS) & (counts > 0))


@no_type_check
@triton.jit
def _count_block(bits, kth, counts, size, AT_ONCE: tl.constexpr):
    block, bound = tl.program_id(0), tl.load(kth)
    at = block.to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    value = tl.load(bits + at, mask=at < size, other=-1)
    tl.store(counts + block, tl.sum((value > bound).to(tl.int32)))
    tl.store(counts + tl.num_programs(0) + block, tl.sum((value == bound).to(tl.int32)))


@no_type_check
@triton.jit
def _list_block(bits, kth, left, counts, sums, places, size, AT_ONCE: tl.constexpr):
    """Write where a block's integers above the bound are, and the first of those equal to it."""
    block, blocks, bound, most = tl.program_id(0), tl.num_programs(0), tl.load(kth), tl.load(left)
    at = block.to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    value = tl.load(bits + at, mask=at < size, other=-1)
    above_before = tl.load(sums + block) - tl.load(counts + block)
    equal_before = tl.load(sums + blocks + block) - tl.load(counts + blocks + block)
    equal = (value == bound).to(tl.int32)
    taken = (value > bound) | ((equal == 1) & (equal_before + tl.cumsum(equal, 0) <= most))
    number = above_before + tl.minimum(equal_before, most) + tl.cumsum(taken.to(tl.int32), 0) - 1
    tl.store(places + number, at, mask=taken)


@no_type_check
@triton.jit
def _next_digit(histogram, kth, left, shift, BINS: tl.constexpr):
    """Take the digit in which the one that is looked for lies."""
    digit = tl.arange(0, BINS)
    counts = tl.load(histogram + digit)
    above = tl.sum(counts) - tl.cumsum(counts, 0)
    missing = tl.load(left)
    here = (above < missing) & (above + counts >= missing)
    tl.store(kth, tl.load(kth) | (tl.sum(tl.where(here, digit, 0)) << shift))
    tl.store(left, missing - tl.sum(tl.where(here, above, 0)))
