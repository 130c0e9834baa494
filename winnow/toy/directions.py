"""Draw the ground-truth directions of toy data in one of three ways; all have unit norm."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from winnow.config.toy import ToySettings
from winnow.toy.learned import learned_directions


def true_directions(settings: ToySettings, rng: np.random.Generator) -> Float[Tensor, "feature d_model"]:
    """Make the directions as the settings say."""
    size = (settings.n_features, settings.d_model)
    if settings.directions == "learned":
        return learned_directions(sphere_directions(*size, rng))
    if settings.directions == "antipodal":
        return antipodal_directions(*size, rng, settings.antipodal_share)
    return sphere_directions(*size, rng)


def sphere_directions(n_features: int, d_model: int, rng: np.random.Generator) -> Float[Tensor, "feature d_model"]:
    """Draw directions uniformly from the sphere: normalised Gaussian vectors."""
    return F.normalize(torch.from_numpy(rng.standard_normal((n_features, d_model), dtype=np.float32)), dim=1)


def antipodal_directions(
    n_features: int, d_model: int, rng: np.random.Generator, share: float
) -> Float[Tensor, "feature d_model"]:
    """Draw from the sphere, with `share` of the features in pairs of opposite direction.

    Pairs lie anywhere in the order of the features, so that partners differ in how often they fire.
    """
    directions = sphere_directions(n_features, d_model, rng)
    pairs = round(share * n_features / 2)
    members = rng.permutation(n_features)[: 2 * pairs]
    directions[members[pairs:]] = -directions[members[:pairs]]
    return directions
