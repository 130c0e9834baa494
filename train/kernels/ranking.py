"""Find the k largest values of each row.

Ranking all B × n pre-activations would cost about as much as the product that made them. Two things make it cheap on a
CPU. If a row is cut into groups, only the k groups with the largest maxima can hold one of the k largest values, so
only their members are ranked. And numpy partitions a row with vector instructions, several times faster than torch.
Measured with one thread, 4096 rows of 6144 latents, k = 32: torch.topk 70 ms, here 26, and 20 in bfloat16.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from train.kernels import dispatch


def top_k(pre: Float[Tensor, "row n"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """Find the k largest of ReLU(pre) in each row, and their latents, ascending by latent.

    The latents are those of `torch.topk`, but any may be chosen among equal values and among those below zero. The
    values may be those of `pre`, before ReLU.
    """
    if dispatch.available(pre):
        return dispatch.top_k(pre, k)
    if pre.device.type == "cpu":
        latents = torch.from_numpy(np.sort(_largest(comparable(pre), k).numpy(), axis=1))
    else:
        latents = pre.topk(k, dim=1, sorted=False).indices.sort(dim=1).values
    return pre.gather(1, latents), latents


def exceeds(pre: Float[Tensor, "*shape"], bound: float) -> Bool[Tensor, "*shape"]:
    """Tell which values exceed `bound`, which must not be below zero, and which the dtype of `pre` must hold."""
    if pre.dtype == torch.bfloat16:  # its bits are the upper half of those of float32
        return comparable(pre) > int(np.float32(bound).view(np.int32) >> 16)
    return pre > bound


def comparable(pre: Float[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """View bfloat16 as integers, which compare faster, and in the same order for values that are not below zero."""
    return pre.view(torch.int16) if pre.dtype == torch.bfloat16 else pre


def _largest(values: Shaped[Tensor, "row n"], k: int) -> Int[Tensor, "row k"]:
    """Find where the k largest of each row are."""
    n = values.shape[1]
    size = 8 if n >= 64 * k and n % 8 == 0 else 4 if n >= 16 * k and n % 4 == 0 else 1
    if size == 1:
        return _partition(values, k)
    groups = n // size
    # strided groups, so that the maximum vectorises
    chosen = _largest(values.view(-1, size, groups).amax(1), k)
    members = torch.arange(0, n, groups).view(1, size, 1)
    candidates = (chosen.unsqueeze(1) + members).flatten(1)  # (row, size * k)
    return candidates.gather(1, _partition(values.gather(1, candidates), k))


def _partition(values: Shaped[Tensor, "row m"], k: int) -> Int[Tensor, "row k"]:
    """Do as `_largest`, for short rows."""
    rows, m = values.shape
    if values.dtype == torch.int16:
        # value and place in one number: no two are equal, and the place comes along
        wide, bits = (torch.int32, 16) if m <= 2**16 else (torch.int64, 32)
        keys = values.to(wide).bitwise_left_shift_(bits).bitwise_or_(torch.arange(m, dtype=wide))
        largest = np.partition(keys.numpy(), m - k, axis=1)[:, m - k :]
        return torch.from_numpy(largest & (2**bits - 1)).long()
    found = values.numpy()
    smallest = np.partition(found, m - k, axis=1)[:, m - k, None]
    places = np.flatnonzero(found >= smallest)
    if len(places) != rows * k:  # several are equal to the smallest, or some are NaN
        return values.topk(k, dim=1, sorted=False).indices
    return torch.from_numpy(places.reshape(rows, k) - np.arange(0, rows * m, m)[:, None])
