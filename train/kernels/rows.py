"""Weighted sums of the rows of a table, and products with them, for lists of rows that differ in length.

Decoding sums the decoder rows of a batch row's latents; a weight's gradient sums the batch rows in which a latent is
active. Either way one program computes one sum, in float32, in the order of the list and without atomics, so that the
bits are the same every time. Entries of weight zero are not read. A list that may be long is cut into pieces, which
other programs sum first, so that a latent that fires in every row keeps nobody waiting.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of

AT_ONCE = 4  # rows of the table that a program has in flight
PIECE = 256  # entries of a list that one program sums


def weighted_sums(offsets: Tensor, index: Tensor, weights: Tensor, table: Tensor, cut: bool = False) -> Tensor:
    """Sum table[index[i]] * weights[i] over each list l, offsets[l] <= i < offsets[l + 1]; float32 [list, d].

    cut: long lists are summed in pieces.
    """
    lists, d = len(offsets) - 1, table.shape[1]
    out = torch.empty(lists, d, dtype=torch.float32, device=table.device)
    partial = sums_of_pieces(offsets, index, weights, table) if cut else weights
    block = triton.next_power_of_2(d)
    with on_device_of(table):
        _weighted_sums[(lists,)](
            *(offsets, index, weights, table, partial, out, d),
            **{"PIECE": PIECE if cut else 0, "D": block, "AT_ONCE": AT_ONCE, "num_warps": warps(block)},
        )
    return out


def sums_of_pieces(offsets: Tensor, index: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """Sum what lies beyond the first PIECE entries of a list, in pieces of as many; float32 [piece, d].

    The piece that begins at entry i has number i // PIECE. No two have the same, since pieces of a list begin PIECE
    apart, and none is the first of its list; numbers that no piece has are left as they are.
    """
    d = table.shape[1]
    partial = torch.empty(len(index) // PIECE + 1, d, dtype=torch.float32, device=table.device)
    block, lists = triton.next_power_of_2(d), len(offsets) - 1
    with on_device_of(table):
        _sums_of_pieces[(len(partial),)](
            *(offsets, index, weights, table, partial, lists, lists.bit_length(), d),
            **{"PIECE": PIECE, "D": block, "AT_ONCE": AT_ONCE, "num_warps": warps(block)},
        )
    return partial


def products(offsets: Tensor, index: Tensor, rows: Tensor, table: Tensor) -> Tensor:
    """Compute rows[l] · table[index[i]] for each entry i of list l; float32, zero for entries in no list."""
    d = table.shape[1]
    out = torch.zeros(len(index), dtype=torch.float32, device=table.device)
    block = triton.next_power_of_2(d)
    with on_device_of(table):
        _products[(len(rows),)](offsets, index, rows, table, out, d, D=block, AT_ONCE=AT_ONCE, num_warps=warps(block))
    return out


def warps(block: int) -> int:
    """Give a program of `block` columns so few warps that each has work; on an H200, 8 for 1024 take thrice as long."""
    return min(16, max(1, block // 512))


@no_type_check
@triton.jit
def load_rows(table, at, d, D: tl.constexpr, mask):
    """Load the rows `at` of a table, where `mask`, as float32 [at, D]."""
    column = tl.arange(0, D)
    places = at[:, None].to(tl.int64) * d + column[None, :]
    return tl.load(table + places, mask=mask[:, None] & (column < d)[None, :], other=0.0).to(tl.float32)


@no_type_check
@triton.jit
def sum_entries(start, stop, index, weights, table, d, D: tl.constexpr, AT_ONCE: tl.constexpr):
    """Sum the weighted rows of the entries [start, stop)."""
    total = tl.zeros([D], tl.float32)
    for first in range(start, stop, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        here = entry < stop
        weight = tl.load(weights + entry, mask=here, other=0.0).to(tl.float32)
        at = tl.load(index + entry, mask=here, other=0)
        total += tl.sum(weight[:, None] * load_rows(table, at, d, D, here & (weight != 0)), axis=0)
    return total


@no_type_check
@triton.jit
def sum_list(
    number,
    offsets,
    index,
    weights,
    table,
    partial,
    d,
    PIECE: tl.constexpr,
    D: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """Sum a whole list: its first entries here, then its pieces in order; PIECE = 0: it has none."""
    start, stop = tl.load(offsets + number), tl.load(offsets + number + 1)
    here = stop
    if PIECE:
        here = tl.minimum(stop, start + PIECE)
    total = sum_entries(start, here, index, weights, table, d, D, AT_ONCE)
    if PIECE:
        column = tl.arange(0, D)
        for begin in range(start + PIECE, stop, PIECE):
            total += tl.load(partial + begin // PIECE * d + column, mask=column < d, other=0.0)
    return total


@no_type_check
@triton.jit
def _weighted_sums(
    offsets,
    index,
    weights,
    table,
    partial,
    out,
    d,
    PIECE: tl.constexpr,
    D: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    number = tl.program_id(0)
    total = sum_list(number, offsets, index, weights, table, partial, d, PIECE, D, AT_ONCE)
    column = tl.arange(0, D)
    tl.store(out + number.to(tl.int64) * d + column, total, mask=column < d)


@no_type_check
@triton.jit
def _sums_of_pieces(
    offsets,
    index,
    weights,
    table,
    partial,
    lists,
    halvings,
    d,
    PIECE: tl.constexpr,
    D: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    number = tl.program_id(0).to(tl.int64)
    low, high = 0, lists  # the list that holds entry number * PIECE, as a piece of this number would
    for _ in range(halvings):
        middle = (low + high) // 2
        before = tl.load(offsets + middle) <= number * PIECE
        low, high = tl.where(before, middle, low), tl.where(before, high, middle)
    start, stop = tl.load(offsets + low), tl.load(offsets + low + 1)
    begin = start + (number - start // PIECE) * PIECE
    if (begin > start) & (begin < stop):
        total = sum_entries(begin, tl.minimum(stop, begin + PIECE), index, weights, table, d, D, AT_ONCE)
        column = tl.arange(0, D)
        tl.store(partial + number * d + column, total, mask=column < d)


@no_type_check
@triton.jit
def _products(offsets, index, rows, table, out, d, D: tl.constexpr, AT_ONCE: tl.constexpr):
    number = tl.program_id(0)
    start, stop = tl.load(offsets + number), tl.load(offsets + number + 1)
    column = tl.arange(0, D)
    row = tl.load(rows + number.to(tl.int64) * d + column, mask=column < d, other=0.0).to(tl.float32)
    for first in range(start, stop, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        here = entry < stop
        at = tl.load(index + entry, mask=here, other=0)
        tl.store(out + entry, tl.sum(row[None, :] * load_rows(table, at, d, D, here), axis=1), mask=here)
