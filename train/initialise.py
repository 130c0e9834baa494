"""The first parameters of a dictionary: unit decoder directions, encoder = decoder transposed, b_dec = mean."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from train.architectures.base import Parameters


def random_directions(n_latents: int, d_model: int, seed: int) -> Float[Tensor, "n d"]:
    """Draw unit vectors uniformly from the sphere.

    Sizes of one seed share no direction: a comparison across sizes would find the ones they started from.
    """
    state = np.random.SeedSequence([seed, n_latents, d_model]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    return F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1)


def initial_parameters(directions: Float[Tensor, "n d"], mean: Float[Tensor, " d"]) -> Parameters:
    """Start encoder and decoder at `directions`, and b_dec at the mean activation."""
    return {
        "W_enc": directions.clone(),
        "b_enc": directions.new_zeros(len(directions)),
        "W_dec": directions.clone(),
        "b_dec": mean.to(directions, copy=True),
    }
