"""Ground-truth directions of toy data, three ways; all of unit norm, all from the generator alone.

Elhage et al. 2022: Toy models of superposition.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LEARNING_STEPS = 500
LEARNING_RATE = 0.005


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


def learned_directions(n_features: int, d_model: int, rng: np.random.Generator) -> Float[Tensor, "feature d_model"]:
    """Let a small autoencoder ReLU(WᵀWx + b) arrange one-hot features (Elhage et al. 2022).

    Features never fire together there, the limit of sparsity: negative overlaps cost nothing, positive ones only
    beyond −b. Of 128 in 64 dimensions no two end with a cosine above 0.11 (at random, 0.4), while some go to −0.5.
    All one-hot inputs are one batch, the identity; W is [d, feature], and its columns are normalised at the end.
    """
    W = sphere_directions(n_features, d_model, rng).T.contiguous().requires_grad_()
    b = torch.zeros(n_features, requires_grad=True)
    optimizer = torch.optim.Adam([W, b], lr=LEARNING_RATE)
    one_hot = torch.eye(n_features)
    for step in range(LEARNING_STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / LEARNING_STEPS)
        loss = (torch.relu(W.T @ W + b) - one_hot).square().sum(1).mean()  # row i is input i
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return F.normalize(W.detach().T, dim=1)
