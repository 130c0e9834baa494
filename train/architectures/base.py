"""What one step of a dictionary gives: losses, gradients and which latents fired.

Parameters are float32 (or float64) tensors by name: W_enc [n, d] (a row per latent, so that gradients gather
rows), b_enc [n], W_dec [n, d] with unit rows, b_dec [d], and what an architecture adds.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from train import sparse
from train.sparse import Active

Parameters = dict[str, Tensor]


class Step(NamedTuple):
    """The mean loss over a batch, its gradients, and sums over the batch for the metrics."""

    loss: Float[Tensor, ""]  # mean over rows, penalties included
    squared_error: Float[Tensor, ""]  # sum over rows
    active: Float[Tensor, ""]  # sum over rows of latents > 0
    fired: Bool[Tensor, " n"]
    gradients: Parameters


def sparse_step(p: Parameters, x: Float[Tensor, "row d"], active: Active, penalty: float = 0.0) -> Step:
    """Finish a step whose latents are `active`: decode, and gradients through the latents > 0 alone.

    Loss: mean over rows of ‖x − x̂‖² + penalty · Σ f.
    """
    n = len(p["W_dec"])
    error = sparse.decode(active, p["W_dec"]).add_(p["b_dec"]).sub_(x)  # (row, d)
    squared_error = error.square().sum()
    gradient = error.mul_(2 / len(x))  # of the reconstruction
    positive = active.values > 0
    through = sparse.gradient_of_values(active, p["W_dec"], gradient)  # (active,)
    if penalty:
        through.add_(penalty / len(x))
    through.mul_(positive)
    groups = sparse.by_latent(active, n)
    g_b_enc = sparse.sum_by_latent(active, through, n)
    fired = torch.zeros(n, dtype=torch.bool, device=x.device)
    fired[active.latents[positive]] = True
    return Step(
        loss=squared_error / len(x) + penalty * active.values.sum() / len(x),
        squared_error=squared_error,
        active=positive.sum(),
        fired=fired,
        gradients={
            "W_enc": sparse.weight_gradient(groups, through, x - p["b_dec"]),
            "b_enc": g_b_enc,
            "W_dec": sparse.weight_gradient(groups, active.values, gradient),
            # x̂ holds b_dec once, and the encoder subtracts it from every row
            "b_dec": gradient.sum(0) - g_b_enc @ p["W_enc"],
        },
    )


def dense_step(p: Parameters, x: Float[Tensor, "row d"], f: Float[Tensor, "row n"], penalty: float = 0.0) -> Step:
    """Finish the same step from dense latents `f`, where so many are active that gathering costs more."""
    error = torch.addmm(p["b_dec"], f, p["W_dec"]).sub_(x)  # (row, d)
    squared_error = error.square().sum()
    gradient = error.mul_(2 / len(x))
    positive = f > 0
    through = gradient @ p["W_dec"].T  # (row, n)
    if penalty:
        through.add_(penalty / len(x))
    through.mul_(positive)
    g_b_enc = through.sum(0)
    return Step(
        loss=squared_error / len(x) + penalty * f.sum() / len(x),
        squared_error=squared_error,
        active=positive.sum(),
        fired=positive.any(0),
        gradients={
            "W_enc": through.T @ (x - p["b_dec"]),
            "b_enc": g_b_enc,
            "W_dec": f.T @ gradient,
            "b_dec": gradient.sum(0) - g_b_enc @ p["W_enc"],
        },
    )
