"""The passes over rows x latents of a dense step, each with the sums over rows that it can take on its way.

A latent passes where its pre-activation exceeds its threshold, zero for ReLU. One program goes down a strip of columns
and of rows, so that its sums need no atomics; torch adds the strips.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of

COLUMNS = 256  # of a strip
ROWS = 512  # of a strip
AT_ONCE = 8  # rows in flight


class Passed(NamedTuple):
    f: Tensor  # [learner, row, n], in the dtype of the pre-activations
    magnitude: Tensor  # float32 [learner, n]: sum over rows
    passing: Tensor  # int32 [learner, n]: rows in which f > 0


class Through(NamedTuple):
    b_enc: Tensor  # float32 [learner, n]: the gradient of the pre-activations, summed over rows
    threshold: Tensor | None  # float32 [learner, n]


def passed(pre: Tensor, threshold: Tensor | None = None) -> Passed:
    """Compute f = pre where pre exceeds its threshold [learner, n], else 0; without thresholds, in place."""
    learners, rows, n = pre.shape
    f = torch.empty_like(pre) if threshold is not None else pre
    strips = triton.cdiv(rows, ROWS)
    magnitude = torch.empty(learners, strips, n, dtype=torch.float32, device=pre.device)
    count = torch.empty(learners, strips, n, dtype=torch.int32, device=pre.device)
    with on_device_of(pre):
        _passed[(triton.cdiv(n, COLUMNS), strips, learners)](
            *(pre, f if threshold is None else threshold, f, magnitude, count, rows, n),
            **{"JUMPS": threshold is not None, "ROWS": ROWS, "COLUMNS": COLUMNS, "AT_ONCE": AT_ONCE, "num_warps": 4},
        )
    return Passed(f, magnitude.sum(1), count.sum(1, dtype=torch.int32))


def through(gradient: Tensor, f: Tensor, added: Tensor, threshold: Tensor | None = None, width: float = 1.0) -> Through:
    """Take the gradient of f, in place, back to the pre-activations [learner, row, n], and sum it over rows.

    added: [learner], the penalty's slope: of ReLU in f; with thresholds, which `width` is the kernel's of, in whether a
    latent passes. f: pre-activations where there are thresholds.
    """
    learners, rows, n = gradient.shape
    strips = triton.cdiv(rows, ROWS)
    b_enc = torch.empty(learners, strips, n, dtype=torch.float32, device=gradient.device)
    of_threshold = b_enc if threshold is None else torch.empty_like(b_enc)
    with on_device_of(gradient):
        _through[(triton.cdiv(n, COLUMNS), strips, learners)](
            *(gradient, f, added, f if threshold is None else threshold, b_enc, of_threshold, rows, n, width),
            **{"JUMPS": threshold is not None, "ROWS": ROWS, "COLUMNS": COLUMNS, "AT_ONCE": AT_ONCE, "num_warps": 4},
        )
    return Through(b_enc.sum(1), None if threshold is None else of_threshold.sum(1).neg_())


@no_type_check
@triton.jit
def _passed(
    pre,
    threshold,
    f,
    magnitude,
    count,
    rows,
    n,
    JUMPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    strip, learner = tl.program_id(1), tl.program_id(2).to(tl.int64)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < n
    theta = tl.load(threshold + learner * n + column, mask=inside, other=0.0) if JUMPS else 0.0
    total = tl.zeros([AT_ONCE, COLUMNS], tl.float32)  # summed over rows at the end: each time would be thrice as slow
    passing = tl.zeros([AT_ONCE, COLUMNS], tl.int32)
    for first in range(0, ROWS, AT_ONCE):
        row = strip * ROWS + first + tl.arange(0, AT_ONCE)
        here = (row < rows)[:, None] & inside[None, :]
        at = (learner * rows + row.to(tl.int64))[:, None] * n + column[None, :]
        value = tl.load(pre + at, mask=here, other=0.0).to(tl.float32)
        passes = value > theta[None, :] if JUMPS else (value > 0) | (value != value)  # NaN stays
        kept = tl.where(passes, value, 0.0)
        tl.store(f + at, kept.to(f.dtype.element_ty), mask=here)
        total += kept
        passing += (kept > 0).to(tl.int32)
    out = (learner * tl.num_programs(1) + strip) * n + column
    tl.store(magnitude + out, tl.sum(total, axis=0), mask=inside)
    tl.store(count + out, tl.sum(passing, axis=0), mask=inside)


@no_type_check
@triton.jit
def _through(
    gradient,
    f,
    added,
    threshold,
    b_enc,
    of_threshold,
    rows,
    n,
    width,
    JUMPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    strip, learner = tl.program_id(1), tl.program_id(2).to(tl.int64)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < n
    theta = tl.load(threshold + learner * n + column, mask=inside, other=0.0) if JUMPS else 0.0
    slope = tl.load(added + learner)
    total = tl.zeros([AT_ONCE, COLUMNS], tl.float32)
    pushed = tl.zeros([AT_ONCE, COLUMNS], tl.float32)
    for first in range(0, ROWS, AT_ONCE):
        row = strip * ROWS + first + tl.arange(0, AT_ONCE)
        here = (row < rows)[:, None] & inside[None, :]
        at = (learner * rows + row.to(tl.int64))[:, None] * n + column[None, :]
        g = tl.load(gradient + at, mask=here, other=0.0).to(tl.float32)
        value = tl.load(f + at, mask=here, other=0.0).to(tl.float32)
        if JUMPS:
            near = here & (tl.abs(value - theta[None, :]) < width / 2)
            pushed += tl.where(near, (theta[None, :] * g + slope) / width, 0.0)
            g = tl.where(value > theta[None, :], g, 0.0)
        else:
            g = tl.where(value > 0, g + slope, 0.0)
        g = tl.where(here, g, 0.0).to(gradient.dtype.element_ty)
        tl.store(gradient + at, g, mask=here)
        total += g.to(tl.float32)
    out = (learner * tl.num_programs(1) + strip) * n + column
    tl.store(b_enc + out, tl.sum(total, axis=0), mask=inside)
    if JUMPS:
        tl.store(of_threshold + out, tl.sum(pushed, axis=0), mask=inside)
