"""The k largest of ReLU(pre) in each row: one program per row finds the k-th largest value bit by bit, then takes the
values above it and the first of those equal to it.

Values that are not below zero compare like the bits of their float32 form. Each bit costs a pass over the row, which
stays in the cache: 31 passes, or 15 for bfloat16, whose lower 16 bits are zero. torch.topk sorts instead.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of

MOST = 4096  # values of a row that are processed at once


def top_k(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return values, float32 [row, k], and latents, int64 [row, k], ascending by latent, of pre [row, n]."""
    rows, n = pre.shape
    values = torch.empty(rows, k, dtype=torch.float32, device=pre.device)
    latents = torch.empty(rows, k, dtype=torch.int64, device=pre.device)
    lowest = 16 if pre.dtype == torch.bfloat16 else 0
    block = min(MOST, triton.next_power_of_2(n))
    with on_device_of(pre):
        _top_k[(rows,)](pre, values, latents, n, k, lowest, BLOCK=block, num_warps=8 if block > 2048 else 4)
    return values, latents


@no_type_check
@triton.jit
def _bits(pre, row, start, n, BLOCK: tl.constexpr):
    """Load values as integers of the same order: -1 beyond the row, 0 where not above zero, the largest for NaN."""
    at = start + tl.arange(0, BLOCK)
    value = tl.load(pre + row.to(tl.int64) * n + at, mask=at < n, other=0.0).to(tl.float32)
    bits = value.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    bits = tl.where((value > 0) | (value != value), bits, 0)
    return tl.where(at < n, bits, -1)


@no_type_check
@triton.jit
def _top_k(pre, values, latents, n, k, lowest, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    kth = 0  # the bits of the k-th largest that are known so far
    for down in range(0, 31 - lowest):
        candidate = kth | (1 << (30 - down))
        count = 0
        for start in range(0, n, BLOCK):
            count += tl.sum((_bits(pre, row, start, n, BLOCK) >= candidate).to(tl.int32))
        kth = tl.where(count >= k, candidate, kth)
    above = 0
    for start in range(0, n, BLOCK):
        above += tl.sum((_bits(pre, row, start, n, BLOCK) > kth).to(tl.int32))
    equal_left = k - above
    taken = 0
    for start in range(0, n, BLOCK):
        bits = _bits(pre, row, start, n, BLOCK)
        equal = (bits == kth).to(tl.int32)
        chosen = (bits > kth) | ((equal == 1) & (tl.cumsum(equal, 0) <= equal_left))
        number = chosen.to(tl.int32)
        place = row.to(tl.int64) * k + taken + tl.cumsum(number, 0) - 1
        tl.store(values + place, bits.to(tl.float32, bitcast=True), mask=chosen)
        tl.store(latents + place, (start + tl.arange(0, BLOCK)).to(tl.int64), mask=chosen)
        taken += tl.sum(number)
        equal_left -= tl.sum(equal)
