"""Compute the max-cosines of random vectors: the null distribution for every comparison of dictionaries.

For two unit vectors drawn uniformly in R^d, cos^2 ~ Beta(1/2, (d-1)/2), so the cosine's distribution
function is F(m) = (1 + sign(m) I(m^2)) / 2 with I the regularised incomplete beta function. The largest of n
independent such cosines has the distribution function F(m)^n. The maximum grows with n: a larger dictionary has a
nearer neighbour for every vector, even for random ones.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc

GRID = 20_001  # points of the trapezoid rule; it agrees with four times as many to 1e-8


def corrected(mmcs: float, chance: float) -> float:
    """Rescale a mean max-cosine so that 0 is chance and 1 is identity: (mmcs - chance) / (1 - chance).

    NaN where chance is 1, as in one dimension: nothing can be above it.
    """
    return (mmcs - chance) / (1 - chance) if chance != 1 else float("nan")


class Chance(NamedTuple):
    """The largest of `n` cosines between a vector and `n` random ones in `d` dimensions; NaN of none."""

    d: int
    n: int

    def cdf(self, m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute F(m)^n: the probability that the largest random cosine is at most `m`."""
        return np.exp(self._log_cdf(m))

    def p_value(self, m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute 1 - F(m)^n, accurate even where it is far below float64's resolution near 1."""
        return -np.expm1(self._log_cdf(m))

    @property
    def mean(self) -> float:
        """Compute mu_0 = E[max] as 1 minus the integral of F^n over [-1, 1]."""
        return _mean(self)

    def corrected(self, mmcs: float) -> float:
        """Rescale a mean max-cosine by mu_0, as `corrected`."""
        return corrected(mmcs, self.mean)

    def expected_counts(self, edges: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Compute how many of `count` random max-cosines to expect in each bin."""
        return count * np.diff(self.cdf(edges))

    def _log_cdf(self, m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute n log F(m), through the upper tail 1 - F, which keeps its precision near m = 1."""
        m = np.clip(m, -1, 1)
        a, b = 0.5, (self.d - 1) / 2
        above = np.where(m > 0, betaincc(a, b, m * m) / 2, (1 + betainc(a, b, m * m)) / 2)
        with np.errstate(divide="ignore"):  # log 0 is minus infinity: m = -1
            return self.n * np.log1p(-above) if self.n else np.full_like(m, np.nan)


@cache
def _mean(chance: Chance) -> float:
    m = np.linspace(-1, 1, GRID)
    return float(1 - np.trapezoid(chance.cdf(m), m))
