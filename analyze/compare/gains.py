"""Refit the scale of a dictionary's latents: the gains, and the constant, with which it reconstructs best.

A penalty makes latents too small (Wright and Sharkey 2024). Leave where the latents point and when they fire as they
are, and choose gains g [n_latents] and a constant c [d_model] that minimise, jointly,

    E |x - c - sum_j g_j f_j d_j|^2

Then the error e is orthogonal to what every latent contributes: E f_j e.d_j = 0. Gains of one latent at a time, given
the others as they are (`stitching.shrinkage`), overshoot where several shrunken latents share a direction. The normal
equations are G g = h with G_ij = cov(f_i, f_j) d_i.d_j and h_j = cov(f_j, x.d_j).

Conjugate gradients solve them from g = 1, scaled by the diagonal, until no latent would change its gain by 0.001 by
itself. Up to 4096 latents G is held; beyond, it is applied to the codes above zero, and only those are held.
"""

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import embedding_bag

from analyze.evaluation.sample import CELLS, batches
from winnow.dictionary import Dictionary

DENSE = 4096 * 4096  # most entries of G that are held: 128 MiB in float64
CODES = 2**25  # most codes that are held, about: 256 MiB; rows are left out, evenly, where there are more
CLOSE = 1e-3  # change of a gain, made for that latent alone, that does not matter
STEPS = 200
VARIES = 1e-6  # least variance of a latent's values, as a share of their mean square

Apply = Callable[[Tensor], Tensor]


class Refit(NamedTuple):
    """The best reconstruction is sum_j gains_j f_j d_j + constant; a latent that cannot be fitted has gain 1."""

    gains: Float[Tensor, " n_latents"]
    fitted: Bool[Tensor, " n_latents"]  # it fires, and not always alike
    constant: Float[Tensor, " d_model"]

    def reconstruct(self, dictionary: Dictionary, f: Float[Tensor, "row n_latents"]) -> Float[Tensor, "row d_model"]:
        """Decode latents at their gains."""
        return (f * self.gains.to(f)) @ dictionary.W_dec + self.constant.to(f)


@torch.no_grad()
def refit(dictionary: Dictionary, rows: Float[Tensor, "row d_model"], dense: int = DENSE, cells: int = CELLS) -> Refit:
    """Find the gains and the constant with which a dictionary reconstructs `rows` best.

    G is held where it has at most `dense` entries; at most about `cells` latent values are in memory at a time.
    """
    n, W = dictionary.n_latents, dictionary.W_dec.detach()
    held = n * n <= dense
    if not held:
        l0 = float((dictionary.encode(rows[:256]) != 0).sum(1).double().mean())
        rows = rows[:: max(1, ceil(l0 * len(rows) / CODES))]
    second: _Products | _Codes = _Products(n) if held else _Codes()
    centre = rows.double().mean(0)
    total, square, product = torch.zeros(3, n, dtype=torch.float64).unbind(0)
    for x in batches(rows, n, cells):
        f = dictionary.encode(x)  # (row, n)
        second.add(f)
        total += f.sum(0).double()
        square += f.square().sum(0).double()
        product += (f * ((x - centre.to(x)) @ W.T)).sum(0).double()
    mean = total / len(rows)
    variance = square / len(rows) - mean.square()
    varies = variance > VARIES * square / len(rows)
    diagonal = torch.where(varies, variance * W.double().square().sum(1), 0)
    gains = _solve(second.operator(W, mean, len(rows)), product / len(rows), diagonal)
    return Refit(gains, diagonal > 0, centre - (gains * mean) @ W.double())


def _solve(apply: Apply, target: Tensor, diagonal: Tensor) -> Tensor:
    """Solve by conjugate gradients from 1, scaled by the diagonal; where that is 0 the solution stays 1."""
    inverse = torch.where(diagonal > 0, 1 / diagonal, 0)
    solution = torch.ones_like(target)
    residual = target - apply(solution)
    scaled = inverse * residual  # what each would change by itself
    direction, size = scaled, residual @ scaled
    for _ in range(STEPS):
        if scaled.abs().max() < CLOSE:
            break
        image = apply(direction)
        curvature = direction @ image
        if curvature <= 0:  # nothing but rounding is left
            break
        step = size / curvature
        solution, residual = solution + step * direction, residual - step * image
        scaled, before = inverse * residual, size
        size = residual @ scaled
        direction = scaled + size / before * direction
    return solution


class _Products:
    """The products of latents, summed over rows."""

    def __init__(self, n: int) -> None:
        self.sums = torch.zeros(n, n, dtype=torch.float64)

    def add(self, f: Float[Tensor, "row n"]) -> None:
        self.sums += f.T @ f

    def operator(self, W: Float[Tensor, "n d"], mean: Float[Tensor, " n"], n_rows: int) -> Apply:
        """Return v -> G v; G takes the place of the sums."""
        G = self.sums.div_(n_rows).addr_(mean, mean, alpha=-1).mul_(W @ W.T)
        return lambda v: G @ v


class _Codes:
    """The codes that are not zero: per batch, the latent and value of each, and where each row starts."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, f: Float[Tensor, "row n"]) -> None:
        fires = f != 0
        counts = fires.sum(1, dtype=torch.int32)
        self.batches.append((fires.nonzero()[:, 1].int(), f[fires], counts))

    def operator(self, W: Float[Tensor, "n d"], mean: Float[Tensor, " n"], n_rows: int) -> Apply:
        """Return v -> G v: reconstruct with v for gains, less the mean, and ask each latent for its share."""

        def apply(v: Tensor) -> Tensor:
            centre, found = ((v * mean) @ W.double()).float(), torch.zeros_like(v)
            for latents, values, counts in self.batches:
                starts = counts.cumsum(0, dtype=torch.int32) - counts
                weights = values * v.float()[latents]
                made = embedding_bag(latents, W, starts, mode="sum", per_sample_weights=weights) - centre  # (row, d)
                row = torch.arange(len(counts)).repeat_interleave(counts)
                for part in torch.arange(len(latents)).split(max(1, CELLS // W.shape[1])):
                    place = slice(int(part[0]), int(part[-1]) + 1)
                    shares = values[place] * torch.linalg.vecdot(made[row[place]], W[latents[place]])
                    found.index_add_(0, latents[place], shares.double())
            return found / n_rows

        return apply
