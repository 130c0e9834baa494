"""Estimate a second null for max-cosines: random vectors with the activations' covariance.

Activations fill some directions more than others, and so do dictionaries trained on them. Vectors drawn from a
normal distribution with that covariance are as anisotropic, but are not features: their score needs no training.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.compare.cosines import max_cosines

SAMPLE = 2048  # vectors whose maxima are averaged; the mean's standard error is below 0.005


def root_of(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Find a matrix R with R R^T = covariance: normal vectors times R^T have that covariance."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return (vectors * values.clamp_min(0).sqrt()).float()


def covariance_null(root: Float[Tensor, "d d"], n_from: int, n_to: int, generator: torch.Generator) -> float:
    """Simulate the mean max-cosine of `n_from` such vectors among `n_to` others; `root` comes from `root_of`."""
    d = len(root)
    a = torch.randn(min(n_from, SAMPLE), d, generator=generator) @ root.T.cpu()
    b = torch.randn(n_to, d, generator=generator) @ root.T.cpu()
    return float(max_cosines(a, b)[0].double().mean())
