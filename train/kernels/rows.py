"""Weighted sums of the rows of a table, and products with them, for lists of rows that differ in length.

Decoding sums the decoder rows of a batch row's latents; a weight's gradient sums the batch rows in which a latent is
active. Either way one program computes one sum, in float32, in the order of the list and without atomics, so that the
bits are the same every time.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of

AT_ONCE = 8  # rows of the table that a program has in flight


def weighted_sums(offsets: Tensor, index: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """Sum table[index[i]] * weights[i] over each list l, offsets[l] <= i < offsets[l + 1]; float32 [list, d]."""
    lists, d = len(offsets) - 1, table.shape[1]
    out = torch.empty(lists, d, dtype=torch.float32, device=table.device)
    block = triton.next_power_of_2(d)
    with on_device_of(table):
        _weighted_sums[(lists,)](
            offsets, index, weights, table, out, d, D=block, AT_ONCE=AT_ONCE, num_warps=_warps(block)
        )
    return out


def products(offsets: Tensor, index: Tensor, rows: Tensor, table: Tensor) -> Tensor:
    """Compute rows[l] · table[index[i]] for each entry i of list l; float32, zero for entries in no list."""
    d = table.shape[1]
    out = torch.zeros(len(index), dtype=torch.float32, device=table.device)
    block = triton.next_power_of_2(d)
    with on_device_of(table):
        _products[(len(rows),)](offsets, index, rows, table, out, d, D=block, AT_ONCE=AT_ONCE, num_warps=_warps(block))
    return out


def _warps(block: int) -> int:
    return min(8, max(1, block // 128))


@no_type_check
@triton.jit
def _load(table, at, d, D: tl.constexpr, mask):
    column = tl.arange(0, D)
    places = at[:, None].to(tl.int64) * d + column[None, :]
    return tl.load(table + places, mask=mask[:, None] & (column < d)[None, :], other=0.0).to(tl.float32)


@no_type_check
@triton.jit
def _weighted_sums(offsets, index, weights, table, out, d, D: tl.constexpr, AT_ONCE: tl.constexpr):
    number = tl.program_id(0)
    start, stop = tl.load(offsets + number), tl.load(offsets + number + 1)
    total = tl.zeros([D], tl.float32)
    for first in range(start, stop, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        here = entry < stop
        at = tl.load(index + entry, mask=here, other=0)
        weight = tl.load(weights + entry, mask=here, other=0.0).to(tl.float32)
        total += tl.sum(weight[:, None] * _load(table, at, d, D, here), axis=0)
    column = tl.arange(0, D)
    tl.store(out + number.to(tl.int64) * d + column, total, mask=column < d)


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
        tl.store(out + entry, tl.sum(row[None, :] * _load(table, at, d, D, here), axis=1), mask=here)
