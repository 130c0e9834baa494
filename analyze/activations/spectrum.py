"""Measure how activations fill their space: the covariance's spectrum, and whether their basis is privileged."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

ROTATED = 256  # directions of the random rotation whose kurtosis is measured


def covariance(rows: Float[Tensor, "row d"]) -> Float[Tensor, "d d"]:
    """Compute the covariance in float64."""
    return torch.atleast_2d(torch.cov(rows.double().T, correction=0))  # a hook may be one number wide


def spectrum(matrix: Float[Tensor, "d d"]) -> dict[str, Any]:
    """Compute the eigenvalues as shares of the variance, falling, and the participation ratio (sum l)^2 / sum l^2.

    The ratio is an effective number of dimensions: d for a sphere, 1 for a line. One dimension of large variance brings
    it near 1 whatever the others do, so it is given of the correlation matrix too (`participation_ratio_standardised`).
    Where no row differs from another, there are no shares and no ratios.
    """
    values = torch.linalg.eigvalsh(matrix.double()).clamp_min(0).flip(0)
    total = values.sum()
    if not total > 0:
        return {"shares": [], "participation_ratio": None, "participation_ratio_standardised": None}
    return {
        "shares": values / total,
        "participation_ratio": float(total.square() / values.square().sum()),
        "participation_ratio_standardised": _participation_of_correlations(matrix.double()),
    }


def _participation_of_correlations(covariance: Tensor) -> float:
    """Compute n^2 over the sum of squared correlations of the n dimensions that vary; NaN if none does."""
    spread = covariance.diagonal().sqrt()
    varies = spread > 0
    correlations = covariance[varies][:, varies] / torch.outer(spread[varies], spread[varies])
    return float(varies.sum().square() / correlations.square().sum())


def privileged_basis(rows: Float[Tensor, "row d"], generator: torch.Generator) -> dict[str, float]:
    """Compare excess kurtosis along the basis with that along a random rotation: mean and median over directions.

    Data without a privileged basis give the same along both; neurons with a nonlinearity are heavier-tailed along the
    basis. Dimensions are standardised before they are rotated: one of large variance would otherwise be what every
    rotated direction shows. The medians say what is typical, since one heavy-tailed dimension can make the mean along
    the basis as large as it likes. Constant dimensions are left out; NaN if all are.
    """
    rows = rows.double()
    spread = rows.std(0, correction=0)
    standard = ((rows - rows.mean(0)) / spread)[:, spread > 0]
    d = standard.shape[1]
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q[:, : min(d, ROTATED)]
    basis, rotated = excess_kurtosis(standard), excess_kurtosis(standard @ rotation)
    return {
        "along_basis": float(basis.mean()),
        "along_rotation": float(rotated.mean()),
        "median_along_basis": float(basis.quantile(0.5)) if d else float("nan"),
        "median_along_rotation": float(rotated.quantile(0.5)) if d else float("nan"),
    }


def excess_kurtosis(rows: Float[Tensor, "row d"]) -> Float[Tensor, " d"]:
    """Compute each dimension's fourth standardised moment minus 3; NaN if the dimension is constant."""
    centred = rows - rows.mean(0)
    square = centred.square()
    return square.square().mean(0) / square.mean(0).square() - 3
