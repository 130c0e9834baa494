"""Compute how well each feature of one dictionary is present in another: m_i = max_j cos(a_i, b_j).

The cosines are computed in blocks, and only each block's maxima are kept. The n_a × n_b matrix is never held,
so 100,000 × 100,000 latents cost time, not memory. Cosines are signed: a feature and its opposite are two
features.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 4096  # rows and columns of a block: 64 MiB of float32 cosines


class Maxima(NamedTuple):
    """Each row's largest cosines, in falling order, and the rows that they belong to."""

    values: Float[Tensor, "n_a k"]
    indices: Int[Tensor, "n_a k"]


def unit(directions: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Scale each row to length 1; a zero row stays zero, and its cosine with any vector is 0."""
    norms = torch.linalg.vector_norm(directions.float(), dim=1, keepdim=True)
    return directions.float() / norms.clamp_min(torch.finfo(torch.float32).tiny)


@torch.no_grad()
def max_cosines(
    a: Float[Tensor, "n_a d"], b: Float[Tensor, "n_b d"], block: int = BLOCK
) -> tuple[Float[Tensor, " n_a"], Float[Tensor, " n_b"]]:
    """Compute each row's largest cosine with the other matrix's rows, both ways, in one product.

    NaN where the other matrix has no rows.
    """
    a, b = unit(a), unit(b)
    nothing = float("nan")
    best_a = torch.full((len(a),), -1.0 if len(b) else nothing, device=a.device)
    best_b = torch.full((len(b),), -1.0 if len(a) else nothing, device=a.device)
    space = torch.empty(min(block, len(a)) * min(block, len(b)), device=a.device)
    for i in range(0, len(a), block):
        rows = a[i : i + block]
        for j in range(0, len(b), block):
            columns = b[j : j + block]
            cosines = space[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=cosines)
            best_a[i : i + block] = torch.maximum(best_a[i : i + block], cosines.amax(1))
            best_b[j : j + block] = torch.maximum(best_b[j : j + block], cosines.amax(0))
    return best_a, best_b


@torch.no_grad()
def mean_cosines(directions: Float[Tensor, "n d"], block: int = BLOCK) -> tuple[float, float]:
    """Average |cos| and cos over all pairs of two rows (2508.16560, c_dec); NaN where there is no pair.

    The signed mean is (‖Σ u‖² − n) / (n (n − 1)) over unit rows u; the other needs every cosine once.
    """
    u = unit(directions)
    n = len(u)
    if n < 2:
        return float("nan"), float("nan")
    pairs = n * (n - 1)
    total = sum(
        float((u[i : i + block] @ part.T).abs().sum(dtype=torch.float64))
        for i in range(0, n, block)
        for part in u.split(block)
    )
    own = float(u.square().sum(dtype=torch.float64))  # n, less the rows that are zero
    signed = float(u.double().sum(0).square().sum())
    return (total - own) / pairs, (signed - own) / pairs


@torch.no_grad()
def nearest_cosines(a: Float[Tensor, "n_a d"], b: Float[Tensor, "n_b d"], k: int, block: int = BLOCK) -> Maxima:
    """Find the `k` nearest rows of `b` for every row of `a` (all rows, if `b` has fewer)."""
    a, b = unit(a), unit(b)
    k = min(k, len(b))
    values, indices = [a.new_zeros(0, k)], [torch.zeros(0, k, dtype=torch.int64, device=a.device)]
    for i in range(0, len(a), block):
        best, where = a.new_empty(len(a[i : i + block]), 0), torch.empty(0, dtype=torch.int64, device=a.device)
        where = where.expand(len(best), 0)
        for j in range(0, len(b), block):
            found = (a[i : i + block] @ b[j : j + block].T).topk(min(k, len(b[j : j + block])), dim=1)
            best = torch.cat([best, found.values], dim=1)
            where = torch.cat([where, found.indices + j], dim=1)
            best, order = best.topk(min(k, best.shape[1]), dim=1)
            where = where.gather(1, order)
        values.append(best)
        indices.append(where)
    return Maxima(torch.cat(values), torch.cat(indices))
