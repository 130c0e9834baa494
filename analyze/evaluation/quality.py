"""Measure how well one dictionary reconstructs its activations, accumulated batch by batch.

    quality = Quality(n_latents, centre)
    for x in batches:                      # [row, d_model]
        f = dictionary.encode(x)
        quality.update(x, f, dictionary.decode(f))
    quality.fvu, quality.l0, quality.dead_fraction

The sums are float64 over all rows: no metric is an average of per-batch values, so the way that the rows are
split into batches does not change the results.

With a `limit`, rows of a larger norm are massive (winnow/massive/rows.py): they are left out of every metric but
`fvu_all_rows`.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.evaluation.massive import is_massive

ALIVE_ABOVE = 10  # a latent that fires on more evaluation rows than this is alive
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DENSITY_EDGES = [-7 + i / 4 for i in range(29)]  # log10 of the firing rate


class Quality:
    """Sums over evaluation rows, and the metrics that follow from them.

    `centre` [d_model] is the mean from which `fvu_rowwise` measures each row's variance; any vector near the mean
    will do, usually the harvest's mean. `fvu` uses the exact mean of the rows seen.
    """

    def __init__(self, n_latents: int, centre: Float[Tensor, " d_model"], limit: float = math.inf) -> None:
        self.centre = centre.double()
        self.limit = limit
        self.spread = Spread(self.centre)
        self.massive = Spread(self.centre)  # of the rows left out
        self.massive_error = 0.0  # sum of |x - y|^2 over them
        self.power = 0.0  # sum of |x|^2
        self.error = 0.0  # sum of |x - y|^2
        self.ratio = 0.0  # sum of |x - y|^2 / |x - centre|^2
        self.firings = torch.zeros(n_latents, dtype=torch.int64)  # rows each latent fired on
        self.values = torch.zeros(n_latents, dtype=torch.float64)  # sum of f of each latent
        self.squares = torch.zeros(n_latents, dtype=torch.float64)  # sum of f^2 of each latent
        self.active = torch.zeros(n_latents + 1, dtype=torch.int64)  # number of rows by count of active latents

    def update(
        self, x: Float[Tensor, "row d_model"], f: Float[Tensor, "row n_latents"], y: Float[Tensor, "row d_model"]
    ) -> None:
        """Add rows `x`, their latents `f` and their reconstructions `y`."""
        massive = is_massive(x, self.limit)
        if massive is not None:
            left_out, rebuilt = (rows[massive].double().to(self.centre.device) for rows in (x, y))
            self.massive.add(left_out)
            self.massive_error += float((left_out - rebuilt).square().sum())
            x, f, y = (rows[~massive] for rows in (x, f, y))
        if len(x) == 0:
            return
        x, y = x.double().to(self.centre.device), y.double().to(self.centre.device)
        error = (x - y).square().sum(1)  # (row,)
        spread = (x - self.centre).square().sum(1)
        self.spread.add(x)
        self.power += float(x.square().sum())
        self.error += float(error.sum())
        self.ratio += float((error / spread).sum())
        fired = f > 0
        self.firings += fired.sum(0).cpu()
        values, squares = f.sum(0, dtype=torch.float32), f.square().sum(0, dtype=torch.float32)
        if not bool(squares.isfinite().all()):  # of activations beyond 1e19
            values, squares = f.double().sum(0), f.double().square().sum(0)
        self.values += values.double().cpu()
        self.squares += squares.double().cpu()
        self.active += torch.bincount(fired.sum(1), minlength=len(self.active)).cpu()

    @property
    def rows(self) -> int:
        """Number of rows, the massive ones not among them."""
        return self.spread.rows

    @property
    def mean(self) -> Float[Tensor, " d_model"]:
        """The mean of these rows, in float64."""
        return self.spread.mean

    @property
    def deviation(self) -> float:
        """The sum of |x - mean|^2."""
        return self.spread.deviation

    @property
    def fvu_all_rows(self) -> float:
        """The same as `fvu` over all rows, the massive ones among them, about the mean of all."""
        return _ratio(self.error + self.massive_error, self.spread.joined(self.massive).deviation)

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained: the sum of |x - y|^2 over the sum of |x - mean|^2."""
        return _ratio(self.error, self.deviation)

    @property
    def fvu_uncentred(self) -> float:
        """The sum of |x - y|^2 over the sum of |x|^2: smaller than `fvu` unless the mean is zero."""
        return _ratio(self.error, self.power)

    @property
    def fvu_rowwise(self) -> float:
        """The mean over rows of |x - y|^2 / |x - centre|^2."""
        return _ratio(self.ratio, self.rows)

    @property
    def mse(self) -> float:
        """The mean over rows of |x - y|^2, summed over dimensions: the reconstruction term of the loss."""
        return _ratio(self.error, self.rows)

    def l1(self, W_dec: Float[Tensor, "n_latents d_model"]) -> float:
        """Compute the sparsity term: the mean over rows of the sum of f_j |d_j|."""
        lengths = torch.linalg.vector_norm(W_dec.double().cpu(), dim=1)
        return _ratio(float(self.values @ lengths), self.rows)

    @property
    def l0(self) -> float:
        """Mean number of active latents per row."""
        return _ratio(float(self.firings.sum()), self.rows)

    @property
    def l0_quantiles(self) -> dict[str, int]:
        """Quantiles of the number of active latents per row: the smallest number that share q does not exceed."""
        below = self.active.cumsum(0)
        return {str(q): int((below < q * self.rows).sum()) for q in QUANTILES}

    @property
    def alive(self) -> Tensor:
        """Which latents fired on more than ten rows: bool [n_latents]."""
        return self.firings > ALIVE_ABOVE

    @property
    def alive_fraction(self) -> float:
        return float(self.alive.double().mean())

    @property
    def dead_fraction(self) -> float:
        """Share of latents that never fired."""
        return float((self.firings == 0).double().mean())

    def density(self) -> dict[str, object]:
        """Count latents by log10 of their firing rate; latents that never fired are counted separately."""
        fired = self.firings[self.firings > 0]
        rates = (fired.double() / max(self.rows, 1)).log10().clamp(DENSITY_EDGES[0], DENSITY_EDGES[-1])
        counts = torch.histogram(rates, torch.tensor(DENSITY_EDGES, dtype=torch.float64)).hist
        return {
            "edges": DENSITY_EDGES,
            "counts": [int(c) for c in counts],
            "never": len(self.firings) - len(fired),
        }


class Spread:
    """The sum of |x - mean|^2 over rows that come in parts."""

    def __init__(self, like: Float[Tensor, " d_model"]) -> None:
        self.rows = 0
        self.mean = torch.zeros_like(like)
        self.deviation = 0.0

    def add(self, x: Float[Tensor, "row d_model"]) -> None:
        """Add rows in float64."""
        mean = x.mean(0)
        self._merge(len(x), mean, float((x - mean).square().sum()))

    def joined(self, other: "Spread") -> "Spread":
        """Compute the sums over the rows of both."""
        both = Spread(self.mean)
        for part in (self, other):
            if part.rows:
                both._merge(part.rows, part.mean, part.deviation)
        return both

    def _merge(self, rows: int, mean: Tensor, deviation: float) -> None:
        # merge partial sums of squares (Chan, Golub and LeVeque 1979): accurate even if the mean is large
        step = mean - self.mean
        total = self.rows + rows
        self.deviation += float(deviation + step.square().sum() * self.rows * rows / total)
        self.mean = self.mean + step * rows / total
        self.rows = total


def quantile(values: np.ndarray, q: float) -> float:
    """Compute a quantile of the finite values; NaN if there are none."""
    numbers = values[np.isfinite(values)]
    return float(np.quantile(numbers, q)) if len(numbers) else math.nan


def _ratio(numerator: float, denominator: float | int) -> float:
    return numerator / denominator if denominator > 0 else math.nan
