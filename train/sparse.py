"""What a step needs of sparse latents: find them, decode them, and the gradients through them.

Latents of a batch are stored row by row: those of row r are `latents[offsets[r] : offsets[r + 1]]`, with
their values beside them. A dense step is five products of B × d × n; with k of n latents active, everything
but the encoder's product costs k/n of one. Measured with one thread at B = 4096, d = 768, n = 6144, k = 32: encoder
480 ms; decode 12, gradient of the values 23, each weight gradient 11, sorting by latent 1.
"""

import math
import warnings
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

with warnings.catch_warnings():  # torch says once a process that CSR tensors are in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], torch.empty(0), (1, 1), check_invariants=False)


class Active(NamedTuple):
    """The active latents of a batch, ascending within each row."""

    offsets: Int[Tensor, " rows_and_one"]
    latents: Int[Tensor, " active"]
    values: Float[Tensor, " active"]


class ByLatent(NamedTuple):
    """The same entries, grouped by latent."""

    offsets: Int[Tensor, " latents"]
    rows: Int[Tensor, " active"]
    order: Int[Tensor, " active"]  # where each entry lies in the order by rows


def top_k(pre: Float[Tensor, "row n"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """Find the k largest of each row and their latents, ascending by latent.

    Exactly `torch.topk`, but for equal values. Its time grows with n: of groups of latents, only the k with the
    largest maximum can hold one of the k largest values, so just those are ranked (1024 latents, k = 32:
    20 -> 11 ms).
    """
    n = pre.shape[1]
    size = 8 if n >= 128 * k and n % 8 == 0 else 4 if n >= 32 * k and n % 4 == 0 else 1
    if size == 1:
        latents = pre.topk(k, dim=1, sorted=False).indices
    else:
        groups = n // size
        largest = pre.view(-1, size, groups).amax(1)  # (row, groups); strided groups, so that the maximum vectorises
        chosen = largest.topk(k, dim=1, sorted=False).indices
        members = torch.arange(0, n, groups, device=pre.device).view(1, size, 1)
        candidates = (chosen.unsqueeze(1) + members).flatten(1)  # (row, size * k)
        best = pre.gather(1, candidates).topk(k, dim=1, sorted=False).indices
        latents = candidates.gather(1, best)
    latents = latents.sort(dim=1).values
    return pre.gather(1, latents), latents


def active_top_k(pre: Float[Tensor, "row n"], k: int) -> Active:
    """Keep the k largest of ReLU(pre) in each row; some of them may be zero."""
    values, latents = top_k(pre, k)
    offsets = torch.arange(0, latents.numel() + 1, k, device=pre.device)
    return Active(offsets, latents.flatten(), values.relu_().flatten())


def active_largest(pre: Float[Tensor, "row n"], count: int) -> Active:
    """Keep the `count` largest of ReLU(pre) in all rows together; fewer where fewer are above zero.

    Ranking B·n values would take longer than the encoder. A sample tells about where the smallest kept value lies,
    and only what exceeds a bound safely below that is ranked; should the sample have misled, everything is.
    """
    stride = max(1, pre.numel() // 2**18)
    while math.gcd(stride, pre.shape[1]) > 1:  # so that it visits all latents
        stride += 1
    sample = pre.flatten()[::stride]
    expected = count / stride
    rank = min(len(sample), math.ceil(expected + 4 * math.sqrt(expected)) + 1)
    bound = sample.topk(rank, sorted=False).values.amin().clamp(min=0)
    active = where(pre > bound, pre)
    if len(active.values) < count and bound > 0:
        active = where(pre > 0, pre)
    if len(active.values) > count:
        largest = active.values.topk(count, sorted=False).indices
        chosen = torch.zeros_like(active.values, dtype=torch.bool).index_fill_(0, largest, True)
        active = keep(active, chosen)
    return active


def decode(active: Active, W_dec: Float[Tensor, "n d"]) -> Float[Tensor, "row d"]:
    """Sum the decoder rows of each row's latents, weighed by their values."""
    return F.embedding_bag(
        active.latents, W_dec, active.offsets, per_sample_weights=active.values, mode="sum", include_last_offset=True
    )


def gradient_of_values(
    active: Active, W_dec: Float[Tensor, "n d"], gradient: Float[Tensor, "row d"]
) -> Float[Tensor, " active"]:
    """Multiply the reconstruction's gradient with the decoder, at the active entries only."""
    shape = (len(gradient), len(W_dec))
    pattern = torch.sparse_csr_tensor(
        active.offsets, active.latents, torch.zeros_like(active.values), shape, check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, gradient, W_dec.T, beta=0.0).values()


def by_latent(active: Active, n_latents: int) -> ByLatent:
    """Group entries by latent; in a group, rows ascend."""
    small = n_latents < 2**15  # radix sort takes a fourth of the time on 16 bits
    order = torch.sort(active.latents.to(torch.int16 if small else torch.int32), stable=True).indices
    rows = torch.repeat_interleave(active.offsets.diff(), output_size=len(active.latents))
    counts = torch.bincount(active.latents, minlength=n_latents)
    return ByLatent(F.pad(counts.cumsum(0), (1, 0)), rows[order], order)


def weight_gradient(
    groups: ByLatent, values: Float[Tensor, " active"], x: Float[Tensor, "row d"]
) -> Float[Tensor, "n d"]:
    """Sum, for each latent, the rows in which it is active, weighed by `values` (in the order by rows)."""
    return F.embedding_bag(
        groups.rows,
        x,
        groups.offsets,
        per_sample_weights=values[groups.order],
        mode="sum",
        include_last_offset=True,
    )


def sum_by_latent(active: Active, values: Float[Tensor, " active"], n_latents: int) -> Float[Tensor, " n"]:
    """Sum `values` (in the order by rows) of each latent."""
    return values.new_zeros(n_latents).index_add_(0, active.latents, values)


def fired(active: Active, n_latents: int) -> Bool[Tensor, " n"]:
    """Tell which latents are above zero in any row."""
    return torch.zeros(n_latents, dtype=torch.bool, device=active.latents.device).index_put_(
        (active.latents,), active.values > 0, accumulate=True
    )


def where(mask: Bool[Tensor, "row n"], values: Float[Tensor, "row n"]) -> Active:
    """List the entries that `mask` marks."""
    rows, latents = mask.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(mask))
    return Active(F.pad(counts.cumsum(0), (1, 0)), latents, values[rows, latents])


def keep(active: Active, chosen: Bool[Tensor, " active"]) -> Active:
    """Keep the chosen entries only."""
    counts = F.pad(chosen.cumsum(0), (1, 0))  # chosen entries before each
    return Active(counts[active.offsets], active.latents[chosen], active.values[chosen])
