"""A step's work on sparse latents: find them, decode them, and take gradients through them.

Latents of a batch are stored row by row: those of row r are `latents[offsets[r] : offsets[r + 1]]`, with
their values beside them. A stack of dictionaries is treated as one dictionary, whose latents are those of all its
learners, one learner after the other, and which sees every row once for each learner: row m·rows + r is row r for
learner m, and only latents m·n … (m + 1)·n are active in it. A dense step is five products of B × d × n; with k of n
latents active, everything but the encoder's product costs k/n of one. Measured with one thread at B = 4096, d = 768,
n = 6144, k = 32: encoder 480 ms; decode 12, gradient of the values 23, each weight gradient 11, sorting by latent 1.
"""

import itertools
import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from train.kernels import dispatch
from train.kernels.ranking import exceeds, top_k

with warnings.catch_warnings():  # torch warns once in a process that CSR tensors are in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], torch.empty(0), (1, 1), check_invariants=False)


class Active(NamedTuple):
    """The active latents of a batch, ascending within each row."""

    offsets: Int[Tensor, " rows_and_one"]
    latents: Int[Tensor, " active"]
    values: Float[Tensor, " active"]


def asynchronous(tensor: Tensor) -> bool:
    """Tell whether the host runs ahead of this tensor's device; a shape that depends on values would make it wait."""
    return tensor.device.type != "cpu"


class ByLatent(NamedTuple):
    """The same entries, grouped by latent."""

    offsets: Int[Tensor, " latents"]
    rows: Int[Tensor, " active"]
    order: Int[Tensor, " active"]  # where each entry lies in the order by rows


class Listed(NamedTuple):
    """A weight's gradient before it is summed: for each latent, rows of a table and their weights."""

    groups: ByLatent
    weights: Float[Tensor, " active"]  # in the order by latent
    table: Float[Tensor, "row d"]
    more: Float[Tensor, "n d"] | None = None  # what else the gradient has

    def plus(self, more: Float[Tensor, "n d"]) -> "Listed":
        """Add a gradient that is summed already."""
        return self._replace(more=more if self.more is None else self.more + more)

    def summed(self) -> Float[Tensor, "n d"]:
        """Sum the lists, in float32, or in the table's dtype if that is wider."""
        groups, table = self.groups, self.table
        if dispatch.available(table):
            found = dispatch.weighted_sums(groups.offsets, groups.rows, self.weights, table, cut=True)
        else:
            weights = self.weights.to(table.dtype)
            found = F.embedding_bag(
                groups.rows, table, groups.offsets, per_sample_weights=weights, mode="sum", include_last_offset=True
            )
        return exact(found) if self.more is None else exact(found).add_(self.more)


def active_top_k(pre: Float[Tensor, "learner row n"], k: Sequence[int]) -> Active:
    """Keep the k largest of ReLU(pre) in each row, k for each learner; some of them may be zero."""
    _, b, n = pre.shape
    found = []
    start = 0
    for each, group in itertools.groupby(k):  # learners of one k are ranked together
        stop = start + len(list(group))
        values, latents = top_k(pre[start:stop].flatten(0, 1), each)
        if stop > 1:
            latents += torch.arange(start * n, stop * n, n, device=pre.device).repeat_interleave(b).unsqueeze(1)
        offsets = torch.arange(0, latents.numel() + 1, each, device=pre.device)
        found.append(Active(offsets, latents.flatten(), exact(values).relu_().flatten()))
        start = stop
    return join(found)


def active_largest(pre: Float[Tensor, "learner row n"], counts: Sequence[int]) -> Active:
    """Keep the `counts` largest of ReLU(pre) over all rows of each learner; some of them may be zero."""
    largest = _largest_in_place if asynchronous(pre) else _largest
    return join_learners([largest(*each) for each in zip(pre, counts, strict=True)], pre.shape[2])


def _largest_in_place(pre: Float[Tensor, "row n"], count: int) -> Active:
    """Keep exactly the `count` largest of ReLU(pre) over all rows."""
    rows, n = pre.shape
    places = _places_of_largest(pre, min(count, pre.numel()))
    offsets = torch.searchsorted(places, torch.arange(0, rows * n + 1, n, device=pre.device))
    return Active(offsets, places % n, exact(pre.flatten().index_select(0, places)).relu_())


def _places_of_largest(pre: Float[Tensor, "row n"], count: int) -> Int[Tensor, " count"]:
    if dispatch.available(pre):
        from train.kernels import batch_selection

        if batch_selection.serves(len(pre), pre.shape[1], count):
            return batch_selection.largest(pre, count)
    return pre.flatten().topk(count, sorted=False).indices.sort().values


def _largest(pre: Float[Tensor, "row n"], count: int) -> Active:
    """Keep the `count` largest of ReLU(pre) over all rows; fewer if fewer are above zero.

    Ranking B·n values would take longer than the encoder. A sample shows roughly where the smallest kept value lies,
    and only values above a bound safely below that are ranked; if the sample misled, all values above zero are.
    """
    stride = max(1, pre.numel() // 2**18)
    while math.gcd(stride, pre.shape[1]) > 1:  # so that it visits all latents
        stride += 1
    sample = exact(pre.flatten()[::stride])
    expected = count / stride
    rank = min(len(sample), math.ceil(expected + 4 * math.sqrt(expected)) + 1)
    bound = float(sample.topk(rank, sorted=False).values.amin().clamp(min=0))
    active = where(exceeds(pre, bound), pre)
    if len(active.values) < count and bound > 0:
        active = where(exceeds(pre, 0.0), pre)
    if len(active.values) > count:
        largest = active.values.topk(count, sorted=False).indices
        active = keep(active, torch.zeros_like(active.values, dtype=torch.bool).index_fill_(0, largest, True))
    return active


def join(parts: Sequence[Active]) -> Active:
    """Concatenate the rows of several batches."""
    if len(parts) == 1:
        return parts[0]
    starts = itertools.accumulate((len(part.latents) for part in parts[:-1]), initial=0)
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=True)]
    end = torch.full((1,), sum(len(part.latents) for part in parts), device=offsets[0].device)
    return Active(
        torch.cat([*offsets, end]),
        torch.cat([part.latents for part in parts]),
        torch.cat([part.values for part in parts]),
    )


def join_learners(parts: Sequence[Active], n: int) -> Active:
    """Stack the batches of dictionaries of n latents each."""
    return join([part._replace(latents=part.latents + m * n) if m else part for m, part in enumerate(parts)])


def split_rows(active: Active, stops: Sequence[int], n: int) -> Active:
    """Split each row at the latents `stops` of its learner, the last of which is n: one row for each piece."""
    pieces = len(stops)
    rows = torch.repeat_interleave(active.offsets.diff(), output_size=len(active.latents))
    bounds = on_device(tuple(stops[:-1]), torch.int64, rows.device)
    piece = rows * pieces + torch.bucketize(active.latents % n, bounds, right=True)
    numbers = torch.arange(pieces * (len(active.offsets) - 1) + 1, device=rows.device)
    return active._replace(offsets=torch.searchsorted(piece, numbers))


def exact(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Cast bfloat16 results back to float32."""
    return values.float() if values.dtype == torch.bfloat16 else values


def decode(active: Active, W_dec: Float[Tensor, "n d"]) -> Float[Tensor, "row d"]:
    """Sum the decoder rows of each row's latents, weighted by their values; float32, or in the dtype of `W_dec`."""
    if dispatch.available(W_dec):
        return dispatch.weighted_sums(active.offsets, active.latents, active.values, W_dec)
    return F.embedding_bag(
        active.latents,
        W_dec,
        active.offsets,
        per_sample_weights=active.values.to(W_dec.dtype),
        mode="sum",
        include_last_offset=True,
    )


def gradient_of_values(
    active: Active, W_dec: Float[Tensor, "n d"], gradient: Float[Tensor, "row d"]
) -> Float[Tensor, " active"]:
    """Multiply the reconstruction's gradient with the decoder, at the active entries only."""
    if dispatch.available(gradient):
        return dispatch.products(active.offsets, active.latents, gradient, W_dec)
    if asynchronous(gradient):
        rows = torch.repeat_interleave(active.offsets.diff(), output_size=len(active.latents))
        return torch.ops.aten._embedding_bag_per_sample_weights_backward(
            gradient, W_dec, active.latents, active.offsets[:-1], rows, 0
        )
    shape = (len(gradient), len(W_dec))
    pattern = torch.sparse_csr_tensor(
        active.offsets, active.latents, torch.zeros_like(active.values), shape, check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, gradient, W_dec.T, beta=0.0).values()


def by_latent(active: Active, n_latents: int) -> ByLatent:
    """Group entries by latent; in a group, rows ascend."""
    small = n_latents < 2**15  # radix sort takes a fourth of the time on 16 bits
    latents, order = torch.sort(active.latents.to(torch.int16 if small else torch.int32), stable=True)
    if asynchronous(order):  # in fewer launches
        rows = torch.searchsorted(active.offsets[1:], order, right=True)
    else:
        rows = torch.repeat_interleave(active.offsets.diff(), output_size=len(latents))[order]
    starts = torch.arange(n_latents + 1, dtype=latents.dtype, device=latents.device)
    return ByLatent(torch.searchsorted(latents, starts), rows, order)


def weight_gradient(
    groups: ByLatent, values: Float[Tensor, " active"], x: Float[Tensor, "row d"]
) -> Float[Tensor, "n d"]:
    """Sum, for each latent, the rows in which it is active, weighted by `values` (in the order by rows)."""
    return listed(groups, values, x).summed()


def listed(groups: ByLatent, values: Float[Tensor, " active"], x: Float[Tensor, "row d"]) -> Listed:
    """Prepare what `weight_gradient` sums."""
    return Listed(groups, values[groups.order], x)


def sum_by_latent(
    active: Active, values: Shaped[Tensor, " active"], n_latents: int, groups: ByLatent | None = None
) -> Shaped[Tensor, " n"]:
    """Sum `values` (in the order by rows) of each latent; `groups`: those of `active`, if they are known already.

    The sums have the same bits every time. On a GPU `index_add_` adds floats in the order in which its threads arrive,
    so there each latent's list is summed separately, in its own order.
    """
    if not asynchronous(values) or not values.is_floating_point():
        return values.new_zeros(n_latents).index_add_(0, active.latents, values)
    groups = by_latent(active, n_latents) if groups is None else groups
    return torch.segment_reduce(values[groups.order], "sum", offsets=groups.offsets, unsafe=True)


def where(mask: Bool[Tensor, "row n"], values: Float[Tensor, "row n"]) -> Active:
    """List the entries that `mask` marks; on a GPU, the host waits to learn how many there are."""
    rows, n = mask.shape
    if mask.device.type == "cpu":  # numpy takes a third of torch's time
        places = torch.from_numpy(np.flatnonzero(mask.numpy()))
    else:
        places = mask.flatten().nonzero().squeeze(1)
    offsets = torch.searchsorted(places, torch.arange(0, rows * n + 1, n, device=mask.device))
    row_of = torch.repeat_interleave(offsets.diff(), output_size=len(places))
    latents = torch.sub(places, row_of, alpha=n)
    return Active(offsets, latents, exact(values.flatten().index_select(0, places)))


def where_learners(mask: Bool[Tensor, "learner row n"], values: Float[Tensor, "learner row n"]) -> Active:
    """List the entries that `mask` marks in a stack."""
    _, b, n = mask.shape
    active = where(mask.flatten(0, 1), values.flatten(0, 1))
    if len(mask) == 1:
        return active
    rows = torch.repeat_interleave(active.offsets.diff(), output_size=len(active.latents))
    return active._replace(latents=active.latents + rows // b * n)


def keep(active: Active, chosen: Bool[Tensor, " active"]) -> Active:
    """Keep the chosen entries only."""
    counts = F.pad(chosen.cumsum(0), (1, 0))  # chosen entries before each
    return Active(counts[active.offsets], active.latents[chosen], active.values[chosen])


class HostCopy:
    """Integers on their way to the host, which waits for them, and for nothing that is asked of the GPU later."""

    def __init__(self, numbers: Int[Tensor, "*shape"]) -> None:
        self._here = numbers
        self._copied = None
        if numbers.is_cuda:
            self._here = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._here.copy_(numbers, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(numbers.device))

    def read(self) -> list:
        """Return the numbers, once they are there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._here.tolist()


@cache  # a copy to a GPU makes the host wait: once is enough
def on_device(values: tuple[float | int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the values as a cached, read-only tensor."""
    return torch.tensor(values, dtype=dtype, device=device)
