"""Affine maps of cells: ridge regressions of what one global affine map leaves, each in a cell of rows of its own.

    left, everywhere = fit_globally(parts)
    predicted = fit_cells(left, cells, 64)       # of the held-out rows; add everywhere.y

A cell maps u − ū_cell to the residual, and its intercept is shrunk as its slopes are: a cell with few rows falls back
on the global map. One λ for all cells is chosen on the validation rows. All is in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from winnow.errors import UserError

LAMBDAS = tuple(10.0**power for power in range(-9, 6))  # of the mean variance of an input: 1 weighs as one row does


@dataclass(frozen=True)
class Rows:
    """Rows that a layer reads, what it gives for them, and the sequences that they are from."""

    u: Float[Tensor, "row d_in"]
    y: Float[Tensor, "row d_out"]
    sequence: Int[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.u)

    def of(self, chosen: np.ndarray) -> "Rows":
        """Keep the rows that a mask chooses."""
        mask = torch.from_numpy(chosen)
        return Rows(self.u[mask], self.y[mask], self.sequence[chosen])

    def with_y(self, y: Float[Tensor, "row d_out"]) -> "Rows":
        """Put other outputs beside the same rows."""
        return Rows(self.u, y, self.sequence)


class Split(NamedTuple):
    """Rows for fitting, for choosing λ and for measuring, no sequence in two of them."""

    train: Rows
    validation: Rows
    test: Rows


def split(rows: Rows, seed: int) -> Split:
    """Share out the sequences: 70 % for fitting, 10 % for choosing λ, 20 % held out. Raises `UserError` below ten."""
    sequences = np.unique(rows.sequence)
    if len(sequences) < 10:
        raise UserError(f"polytopes.regions.rows: rows of 10 sequences are needed, found {len(sequences)}")
    order = np.random.default_rng(seed).permutation(sequences)
    first, second = round(0.7 * len(order)), round(0.8 * len(order))
    parts = order[:first], order[first:second], order[second:]
    return Split(*(rows.of(np.isin(rows.sequence, part)) for part in parts))


class Predicted(NamedTuple):
    """Predictions for the held-out rows, and the λ that was chosen for them, in rows of mean variance."""

    y: Float[Tensor, "row d_out"]
    ridge: float


def fit_globally(parts: Split) -> tuple[Split, Predicted]:
    """Fit one affine map; give the parts with what it leaves of y in place of y, and its predictions."""
    mean = parts.train.y.mean(0)
    centred = Split(*(part.with_y(part.y - mean) for part in parts))
    maps = _Maps(centred.train, torch.zeros(len(centred.train), dtype=torch.int64))
    ridge = maps.choose(centred.validation, torch.zeros(len(centred.validation), dtype=torch.int64))
    predicted = [maps.predict(part.u, torch.zeros(len(part), dtype=torch.int64), [ridge])[0] for part in centred]
    left = Split(*(part.with_y(part.y - y) for part, y in zip(centred, predicted, strict=True)))
    return left, Predicted(predicted[2] + mean, ridge)


def fit_cells(left: Split, cells: Sequence[Int[Tensor, " _row"]]) -> Predicted:
    """Predict what the global map leaves of the held-out rows; `cells`: the cell of each row of the three parts."""
    maps = _Maps(left.train, cells[0])
    ridge = maps.choose(left.validation, cells[1])
    return Predicted(maps.predict(left.test.u, cells[2], [ridge])[0], ridge)


def cell_means(parts: Split, cells: Sequence[Int[Tensor, " _row"]], count: int) -> Float[Tensor, "row d_out"]:
    """Predict the mean output of the training rows in the cell; where there are none, that of all: quantisation."""
    train = parts.train
    sums = torch.zeros(count, train.y.shape[1], dtype=train.y.dtype).index_add_(0, cells[0], train.y)
    rows = torch.bincount(cells[0], minlength=count)[:, None]
    means = torch.where(rows > 0, sums / rows.clamp(min=1), train.y.mean(0))
    return means[cells[2]]


class _Cell(NamedTuple):
    """A cell's ridge regressions for every λ: slopes basis diag(1 / (size + λ)) image, and an intercept."""

    mean_u: Tensor  # [d_in]
    sum_y: Tensor  # [d_out]
    rows: int
    basis: Tensor  # [d_in, k]
    size: Tensor  # [k]
    image: Tensor  # [k, d_out]


class _Maps:
    """The maps of all cells, for every λ."""

    def __init__(self, train: Rows, cell: Tensor) -> None:
        self.unit = max(train.u.var(0, correction=0).mean().item(), 1e-300)
        self.d_out = train.y.shape[1]
        self.cells = {
            number: _fit(train.u[cell == number], train.y[cell == number]) for number in cell.unique().tolist()
        }

    def predict(self, u: Tensor, cell: Tensor, lambdas: Sequence[float]) -> list[Tensor]:
        """Predict for each λ; in a cell without training rows, 0."""
        found = [u.new_zeros(len(u), self.d_out) for _ in lambdas]
        for number in cell.unique().tolist():
            one = self.cells.get(number)
            if one is None:
                continue
            mask = cell == number
            projected = (u[mask] - one.mean_u) @ one.basis
            for y, ridge in zip(found, lambdas, strict=True):
                slope = (projected / (one.size + ridge * self.unit)) @ one.image
                y[mask] = slope + one.sum_y / (one.rows + ridge)
        return found

    def choose(self, rows: Rows, cell: Tensor) -> float:
        """Choose the λ of least error, the larger one of equal ones."""
        predicted = self.predict(rows.u, cell, LAMBDAS)
        best, chosen = inf, LAMBDAS[-1]
        for ridge, y in reversed(list(zip(LAMBDAS, predicted, strict=True))):
            error = (rows.y - y).square().sum().item()
            if error < best:
                best, chosen = error, ridge
        return chosen


def _fit(u: Tensor, y: Tensor) -> _Cell:
    mean = u.mean(0)
    x = u - mean
    if len(u) >= u.shape[1]:
        size, basis = torch.linalg.eigh(x.T @ x)
        image = basis.T @ (x.T @ y)
    else:  # the same map from the smaller matrix
        size, vectors = torch.linalg.eigh(x @ x.T)
        basis, image = x.T @ vectors, vectors.T @ y
    return _Cell(mean, y.sum(0), len(u), basis, size.clamp(min=0), image)
