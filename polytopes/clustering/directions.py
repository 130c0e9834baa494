"""Sets of rows that directions, balls and chance pick out, for clusters to be compared with.

A direction's set is the m rows that lie farthest along it. The control that matters is the *ball*, the m rows nearest
to one row: any small region is purer in labels than a direction, so clusters must beat balls and not directions alone.
m is the median size of a cluster: entropies from counts depend on how many rows there are.
"""

import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from winnow.errors import UserError

COMPONENTS = 64  # of PCA and NMF
RANDOM = 100  # random directions, balls and sets of rows


def top_rows(scores: Float[Tensor, "row direction"], m: int) -> Int[np.ndarray, "direction m"]:
    """Give the m rows of highest score along each direction, ties by row. Raises `UserError` for too few rows."""
    if not 0 < m <= len(scores):
        raise UserError(f"the top {m} of {len(scores)} rows were asked for")
    order = scores.cpu().T.contiguous().argsort(dim=1, descending=True, stable=True)
    return order[:, :m].numpy()


def firing_rows(latents: Float[Tensor, "row latent"], m: int) -> Int[np.ndarray, "direction m"]:
    """Give the m strongest rows of each latent that fires on m rows or more; rows on which it is 0 are not its own."""
    return top_rows(latents[:, (latents > 0).sum(0) >= m], m)


def pca_scores(rows: Float[Tensor, "row n"], components: int = COMPONENTS) -> Float[Tensor, "row direction"]:
    """Project rows on their principal components, and on these turned round: a component has no sign of its own."""
    x = (rows - rows.mean(0)).double()
    _, vectors = torch.linalg.eigh(x.T @ x)  # ascending
    scores = x @ vectors[:, -components:].flip(1)
    return torch.cat([scores, -scores], 1)


def nmf_scores(
    rows: Float[Tensor, "row n"], seed: int, components: int = COMPONENTS, signed: bool = False
) -> Float[Tensor, "row direction"]:
    """Factor rows ≈ W H without negative numbers, and give W: how much of each component a row has.

    What is below 0 counts as 0, since gelu's is small; with `signed`, for gated layers, it is a column of its own.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    x = torch.cat([rows, -rows], 1) if signed else rows
    x = x.clamp(min=0).double().cpu().numpy()
    nmf = NMF(min(components, *x.shape), init="nndsvda", max_iter=100, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of W do not change which rows are its top
        return torch.from_numpy(nmf.fit_transform(x))


def random_scores(rows: Float[Tensor, "row n"], seed: int, count: int = RANDOM) -> Float[Tensor, "row direction"]:
    """Project rows on directions drawn from the sphere."""
    directions = torch.randn(rows.shape[1], count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (rows - rows.mean(0)).double() @ (directions / directions.norm(dim=0)).to(rows.device)


def balls(distances: Float[Tensor, "row row"], centres: Int[np.ndarray, " ball"], m: int) -> Int[np.ndarray, "ball m"]:
    """Give the m rows nearest to each of some rows, itself included."""
    return top_rows(-distances[torch.from_numpy(centres)].T, m)


def some_rows(rows: int, seed: int, count: int = RANDOM) -> Int[np.ndarray, " ball"]:
    """Draw rows to be the centres of balls, all different where there are enough."""
    return np.random.default_rng(seed).choice(rows, min(count, rows), replace=False)


def random_sets(rows: int, m: int, seed: int, count: int = RANDOM) -> Int[np.ndarray, "set m"]:
    """Draw sets of m different rows."""
    generator = np.random.default_rng(seed)
    return np.stack([generator.choice(rows, m, replace=False) for _ in range(count)])
