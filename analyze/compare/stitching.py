"""Insert single latents of one dictionary into another and test whether they lower its error (Leask et al. 2025).

Latent j of the larger dictionary adds f_j d_j to the smaller one's reconstruction. With e = x - reconstruction,
the squared error changes by f_j^2 |d_j|^2 - 2 f_j e.d_j. If the mean change is negative, the latent is novel: it
adds something that the smaller dictionary lacks. Otherwise it only reconstructs what the smaller one already does.

The same sums give shrinkage: c_j = f_j + e.d_j / |d_j|^2 is the least-squares coefficient of latent j given what
all others contribute, and gamma_j = <f_j, c_j> / <f_j, f_j> over the rows where it fires. Above 1: shrunken.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import Tensor

from analyze.evaluation.sample import CELLS, batches
from winnow.dictionary import Dictionary


class Insertion(NamedTuple):
    """Per latent: change of the mean squared error per row when it is inserted, and E f^2."""

    change: Float[Tensor, " n_latents"]
    power: Float[Tensor, " n_latents"]

    @property
    def novel(self) -> Tensor:
        """Which latents lower the error: bool [n_latents]."""
        return self.change < 0


@torch.no_grad()
def insert(
    latents_of: Dictionary, into: Dictionary, rows: Float[Tensor, "row d_model"], cells: int = CELLS
) -> Insertion:
    """Insert each latent of one dictionary by itself into the other's reconstruction of `rows`."""
    square, product = _sums(latents_of, into, rows, cells)
    lengths = latents_of.W_dec.detach().double().cpu().square().sum(1)
    return Insertion((square * lengths - 2 * product) / len(rows), square / len(rows))


@torch.no_grad()
def shrinkage(dictionary: Dictionary, rows: Float[Tensor, "row d_model"], cells: int = CELLS) -> Tensor:
    """Compute gamma [n_latents] of each latent over the rows where it fires; NaN if it never fires."""
    square, product = _sums(dictionary, dictionary, rows, cells)
    lengths = dictionary.W_dec.detach().double().cpu().square().sum(1)
    return 1 + product / (lengths * square)


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Compute the area under the ROC curve: how often a positive scores above a negative; ties count half."""
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        return float("nan")
    return float(mannwhitneyu(above, below, method="asymptotic").statistic) / (len(above) * len(below))


def _sums(latents_of: Dictionary, into: Dictionary, rows: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Sum f_j^2 and f_j e.d_j over the rows, where e is the error of `into`: float64 [n_latents] each."""
    square = torch.zeros(latents_of.n_latents, dtype=torch.float64)
    product = torch.zeros(latents_of.n_latents, dtype=torch.float64)
    for x in batches(rows, latents_of.n_latents + into.n_latents, cells):
        error = x - into(x)
        f = latents_of.encode(x)  # (row, n_latents)
        square += f.square().sum(0).double().cpu()
        product += (f * (error @ latents_of.W_dec.T)).sum(0).double().cpu()
    return square, product
