"""A step of Adam on a weight whose gradient is still a list of rows for each latent: one pass over the weight.

One program gathers a latent's gradient, takes off the part along its direction, moves the averages and the weight, and
normalises it. The gradient is never written: 24 bytes a weight are moved, where separate operations move 54.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import triton
import triton.language as tl
from torch import Tensor

from train.kernels.guard import on_device_of
from train.kernels.rows import AT_ONCE, PIECE, sum_list, sums_of_pieces, warps
from train.kernels.sparse import Listed


class Adam(NamedTuple):
    betas: tuple[float, float]
    epsilon: float
    step: int  # its number, from 1
    rates: Sequence[tuple[float, slice]]  # and the learners that have them


def descend(listed: Listed, weight: Tensor, average: Tensor, square: Tensor, adam: Adam, unit: bool) -> None:
    """Take a step on `weight` [learner, n, d], in place, as `torch.optim.adam` would.

    listed: the gradient, a list for each learner's latent. unit: the weight's rows have unit norm, and keep it.
    """
    (_, n, d), groups, more = weight.shape, listed.groups, listed.more
    lists = (groups.offsets, groups.rows, listed.weights, listed.table)
    partial = sums_of_pieces(*lists)
    (beta1, beta2), step = adam.betas, adam.step
    block = triton.next_power_of_2(d)
    with on_device_of(weight):
        for rate, learners in adam.rates:
            _descend[((learners.stop - learners.start) * n,)](
                *(*lists, partial, weight if more is None else more, weight, average, square),
                *(learners.start * n, d, 1 - beta1, beta2, 1 - beta2, adam.epsilon),
                *(rate / (1 - beta1**step), (1 - beta2**step) ** 0.5),
                **{"UNIT": unit, "MORE": more is not None, "PIECE": PIECE},
                **{"D": block, "AT_ONCE": AT_ONCE, "num_warps": warps(block)},
            )


@no_type_check
@triton.jit
def _descend(
    offsets,
    index,
    weights,
    table,
    partial,
    more,
    weight,
    average,
    square,
    begin,
    d,
    new1,
    old2,
    new2,
    epsilon,
    rate,
    correction,
    UNIT: tl.constexpr,
    MORE: tl.constexpr,
    PIECE: tl.constexpr,
    D: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    latent = begin + tl.program_id(0).to(tl.int64)
    column = tl.arange(0, D)
    inside = column < d
    at = latent * d + column
    g = sum_list(latent, offsets, index, weights, table, partial, d, PIECE, D, AT_ONCE)
    if MORE:
        g += tl.load(more + at, mask=inside, other=0.0)
    w = tl.load(weight + at, mask=inside, other=0.0)
    if UNIT:
        g -= tl.sum(g * w) * w
    mean = tl.load(average + at, mask=inside, other=0.0)
    mean += new1 * (g - mean)
    variance = old2 * tl.load(square + at, mask=inside, other=0.0) + new2 * g * g
    w -= rate * mean / (tl.sqrt(variance) / correction + epsilon)
    if UNIT:
        w /= tl.maximum(tl.sqrt(tl.sum(w * w)), 1e-12)
    tl.store(weight + at, w, mask=inside)
    tl.store(average + at, mean, mask=inside)
    tl.store(square + at, variance, mask=inside)
