"""Measure how activations fill their space: the covariance's spectrum, and whether their basis is privileged."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

ROTATED = 256  # directions of the random rotation whose kurtosis is measured


def covariance(rows: Float[Tensor, "row d"]) -> Float[Tensor, "d d"]:
    """Compute the covariance in float64."""
    return torch.cov(rows.double().T, correction=0)


def spectrum(matrix: Float[Tensor, "d d"]) -> dict[str, Any]:
    """Compute the eigenvalues as shares of the variance, falling, and the participation ratio (sum l)^2 / sum l^2.

    The ratio is an effective number of dimensions: d for a sphere, 1 for a line.
    """
    values = torch.linalg.eigvalsh(matrix.double()).clamp_min(0).flip(0)
    total = values.sum()
    return {
        "shares": values / total,
        "participation_ratio": float(total.square() / values.square().sum()),
    }


def privileged_basis(rows: Float[Tensor, "row d"], generator: torch.Generator) -> dict[str, float]:
    """Compare the mean excess kurtosis along the basis with the mean along a random rotation.

    Data without a privileged basis give the same along both; neurons with a nonlinearity are heavier-tailed along the
    basis. Dimensions are centred, not scaled, in both.
    """
    rows = rows.double()
    d = rows.shape[1]
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q[:, : min(d, ROTATED)]
    return {
        "along_basis": float(excess_kurtosis(rows).nanmean()),
        "along_rotation": float(excess_kurtosis(rows @ rotation).nanmean()),
    }


def excess_kurtosis(rows: Float[Tensor, "row d"]) -> Float[Tensor, " d"]:
    """Compute each dimension's fourth standardised moment minus 3; NaN if the dimension is constant."""
    centred = rows - rows.mean(0)
    square = centred.square()
    return square.square().mean(0) / square.mean(0).square() - 3
