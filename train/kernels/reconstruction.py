"""Decode each row's latents, and take the squared error's gradient back to them, in one pass over the decoder's rows.

A program decodes one row, subtracts what it should be, and multiplies the difference with the same decoder rows, which
its cache still holds.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of
from train.kernels.rows import AT_ONCE, load_rows, sum_entries, warps


class Reconstruction(NamedTuple):
    """What a step needs of x̂ = Σ value · W_dec + b_dec; float32, but for `lowered`."""

    squared_error: Tensor  # [row]
    gradient: Tensor  # [row, d], of the mean squared error in x̂: 2 (x̂ − x) / batch
    lowered: Tensor  # the same, in the decoder's dtype
    gradient_of_values: Tensor  # [active]


def reconstruct(
    offsets: Tensor, latents: Tensor, values: Tensor, W_dec: Tensor, b_dec: Tensor, x: Tensor
) -> Reconstruction:
    """Compute the reconstruction of x [batch, d] by each learner, and its gradients; `b_dec`: [learner, d]."""
    rows, (batch, d) = len(offsets) - 1, x.shape
    squared_error = torch.empty(rows, dtype=torch.float32, device=x.device)
    gradient = torch.empty(rows, d, dtype=torch.float32, device=x.device)
    lowered = gradient if W_dec.dtype == torch.float32 else torch.empty_like(gradient, dtype=W_dec.dtype)
    of_values = torch.zeros(len(latents), dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(d)
    with on_device_of(x):
        _reconstruct[(rows,)](
            *(offsets, latents, values, W_dec, b_dec, x, squared_error, gradient, lowered, of_values),
            *(batch, d, 2 / batch),
            **{"D": block, "AT_ONCE": AT_ONCE, "num_warps": warps(block)},
        )
    return Reconstruction(squared_error, gradient, lowered, of_values)


@no_type_check
@triton.jit
def _reconstruct(
    offsets,
    latents,
    values,
    W_dec,
    b_dec,
    x,
    squared_error,
    gradient,
    lowered,
    of_values,
    batch,
    d,
    factor,
    D: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(offsets + row), tl.load(offsets + row + 1)
    column = tl.arange(0, D)
    inside = column < d
    error = sum_entries(start, stop, latents, values, W_dec, d, D, AT_ONCE)
    error += tl.load(b_dec + row // batch * d + column, mask=inside, other=0.0)
    error -= tl.load(x + row % batch * d + column, mask=inside, other=0.0)
    tl.store(squared_error + row, tl.sum(error * error))
    error *= factor
    tl.store(gradient + row * d + column, error, mask=inside)
    if lowered.dtype.element_ty != tl.float32:
        tl.store(lowered + row * d + column, error.to(lowered.dtype.element_ty), mask=inside)
    for first in range(start, stop, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        here = entry < stop
        at = tl.load(latents + entry, mask=here, other=0)
        tl.store(of_values + entry, tl.sum(error[None, :] * load_rows(W_dec, at, d, D, here), axis=1), mask=here)
