"""A second null for max-cosines: random vectors that have the activations' covariance.

Activations fill some directions more than others, and so do dictionaries trained on them. Vectors drawn from a
normal law of that covariance are as anisotropic, and are no features: what they reach is reached for free.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.cosines import max_cosines

SAMPLE = 2048  # vectors whose maxima are averaged; the mean's standard error is below 0.005


def covariance_null(covariance: Float[Tensor, "d d"], n_from: int, n_to: int, generator: torch.Generator) -> float:
    """Estimate the mean max-cosine of `n_from` such vectors among `n_to` others, by simulation."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root = (vectors * values.clamp_min(0).sqrt()).float()  # (d, d): root @ root.T is the covariance
    d = len(root)
    a = torch.randn(min(n_from, SAMPLE), d, generator=generator) @ root.T.cpu()
    b = torch.randn(n_to, d, generator=generator) @ root.T.cpu()
    return float(max_cosines(a, b)[0].double().mean())
