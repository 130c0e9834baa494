"""Insert single latents of one dictionary into another and test whether they lower its error (Leask et al. 2025).

Latent j of dictionary A adds f_j d_j to dictionary B's reconstruction. With e = x - reconstruction, the squared error
changes by f_j^2 |d_j|^2 - 2 f_j e.d_j. If the mean change is negative, the latent is novel: it adds something that B
lacks. Otherwise it only reconstructs what B already does.

Whatever is too small is novel by that rule: into a shrunken B, what B itself says too softly; of a shrunken A, what
helps a quarter as much where its values are half of what they should be. So both take part at the gains with which
they reconstruct best (gains.py). Then no scale of the latents, on either side, changes the result, and B's own latents
add E g_j^2 f_j^2 |d_j|^2 >= 0, for B's error is orthogonal to them. That holds on the rows on which the gains were
found. Here the even rows give the gains for the odd ones and the other way round, so that it can fail: the share of a
dictionary's own latents that are novel to it is the control of the whole.

The same sums give shrinkage: c_j = f_j + e.d_j / |d_j|^2 is the least-squares coefficient of latent j given what
all others contribute, and gamma_j = <f_j, c_j> / <f_j, f_j> over the rows where it fires. Above 1: shrunken.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import Tensor

from analyze.compare.gains import Refit, refit
from analyze.evaluation.sample import CELLS, batches
from winnow.dictionary import Dictionary

ITSELF = 0.02  # largest share of a dictionary's latents that may be novel to itself where novelty is told
Refits = tuple[Refit, Refit]  # from the even rows, and from the odd ones


class Rescaled(NamedTuple):
    """A dictionary's refits, and the share of its living latents that are novel to itself."""

    refits: Refits
    novel_to_itself: float

    @classmethod
    def of(
        cls, dictionary: Dictionary, alive: Bool[Tensor, " n_latents"], rows: Float[Tensor, "row d_model"]
    ) -> "Rescaled":
        """Refit a dictionary to both halves of `rows`, and insert its latents into itself."""
        refits = refit(dictionary, rows[::2]), refit(dictionary, rows[1::2])
        change = insert(dictionary, dictionary, rows, (refits, refits))[alive]
        return Rescaled(refits, float((change[~change.isnan()] < 0).double().mean()))


@torch.no_grad()
def insert(
    latents_of: Dictionary,
    into: Dictionary,
    rows: Float[Tensor, "row d_model"],
    refits: tuple[Refits, Refits],
    cells: int = CELLS,
) -> Float[Tensor, " n_latents"]:
    """Insert each latent of one dictionary by itself into the other's reconstruction of `rows`, both at their gains.

    Compute the change of the mean squared error per row: below 0 the latent is novel. NaN for one that fires on even
    or on odd rows alone, since it has no gain for the others.
    """
    lengths = latents_of.W_dec.detach().double().cpu().square().sum(1)
    change = torch.zeros(latents_of.n_latents, dtype=torch.float64)
    for half, (inserted, host) in enumerate(zip(*refits, strict=True)):
        square, product = _sums(latents_of, into, rows[1 - half :: 2], host, cells)
        change += inserted.gains.square() * square * lengths - 2 * inserted.gains * product
    fitted = refits[0][0].fitted & refits[0][1].fitted
    return torch.where(fitted, change / len(rows), torch.nan)


@torch.no_grad()
def shrinkage(dictionary: Dictionary, rows: Float[Tensor, "row d_model"], cells: int = CELLS) -> Tensor:
    """Compute gamma [n_latents] of each latent over the rows where it fires; NaN if it never fires."""
    square, product = _sums(dictionary, dictionary, rows, None, cells)
    lengths = dictionary.W_dec.detach().double().cpu().square().sum(1)
    return 1 + product / (lengths * square)


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Compute the area under the ROC curve: how often a positive scores above a negative; ties count half."""
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        return float("nan")
    return float(mannwhitneyu(above, below, method="asymptotic").statistic) / (len(above) * len(below))


def _sums(
    latents_of: Dictionary, into: Dictionary, rows: Tensor, refitted: Refit | None, cells: int
) -> tuple[Tensor, Tensor]:
    """Sum f_j^2 and f_j e.d_j over the rows, where e is the error of `into`: float64 [n_latents] each."""
    square = torch.zeros(latents_of.n_latents, dtype=torch.float64)
    product = torch.zeros(latents_of.n_latents, dtype=torch.float64)
    for x in batches(rows, latents_of.n_latents + into.n_latents, cells):
        error = x - (into(x) if refitted is None else refitted.reconstruct(into, into.encode(x)))
        f = latents_of.encode(x)  # (row, n_latents)
        square += f.square().sum(0).double().cpu()
        product += (f * (error @ latents_of.W_dec.T)).sum(0).double().cpu()
    return square, product
