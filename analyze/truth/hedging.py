"""Hedging: narrow dictionaries mix correlated features into one latent (Chanin et al. 2025, arXiv 2505.11756).

A dictionary with fewer latents than features lowers its squared error by adding to a latent's direction what usually
comes with its feature. If a latent stood for feature g alone, with the feature's own magnitude c_g as its value, the
direction that reconstructs best would be

    Cov(x, c_g) / Var(c_g)  =  t_g + v_g + (a part along t_g)

with t_g the true direction and v_g ⟂ t_g what other features contribute on average. A living latent j whose nearest
feature is g deviates from it by r_j = d_j / ⟨d_j, t_g⟩ − t_g, which is also ⟂ t_g. The score is the slope of one on the
other,

    hedging = Σ_j ⟨r_j, v_g⟩ / Σ_j ‖v_g‖²

0: latents keep to their features, or deviate in other ways; 1: they take up all that goes with them. Features that fire
independently leave nothing to take up: read it beside `to_hedge`, the mean of ‖v_g‖.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyze.compare.cosines import nearest_cosines
from winnow.dictionary import Dictionary
from winnow.toy.data import ToyRows

OF_A_FEATURE = 0.5  # cosine from which a latent counts as its nearest feature's
CELLS = 2**24  # entries times dimensions in memory at a time: 64 MiB in float32


class Hedging(NamedTuple):
    """How much of what goes with their features the latents take up."""

    score: float | None  # None: no latent is near a feature, or nothing goes with any
    to_hedge: float | None  # mean of ‖v_g‖ over the latents that count
    latents: float  # share of the living ones that count


def companions(truth: Float[Tensor, "feature d"], rows: ToyRows) -> Float[Tensor, "feature d"]:
    """Compute v_g of every feature from rows whose codes are known; zero where its magnitude never varies."""
    x = (rows.activations - rows.activations.mean(0)).float()
    place = torch.repeat_interleave(rows.offsets.diff())
    features, d = truth.shape
    sums = torch.zeros(features, d)
    for entries in torch.arange(len(place)).split(max(1, CELLS // d)):
        part = rows.magnitudes[entries].unsqueeze(1) * x[place[entries]]
        sums.index_add_(0, rows.features[entries], part)
    m = rows.magnitudes.double()
    first, second = (
        torch.zeros(features, dtype=torch.float64).index_add_(0, rows.features, value) / len(x) for value in (m, m * m)
    )
    variance = second - first.square()
    best = torch.where(variance.unsqueeze(1) > 0, sums.double() / len(x) / variance.unsqueeze(1), 0.0).float()
    return best - torch.linalg.vecdot(best, truth).unsqueeze(1) * truth


@torch.no_grad()
def hedging(
    dictionary: Dictionary,
    alive: Bool[Tensor, " n_latents"],
    truth: Float[Tensor, "feature d"],
    beside: Float[Tensor, "feature d"],
) -> Hedging:
    """Score a dictionary; `truth` are unit directions, `beside` their `companions`."""
    directions = dictionary.W_dec.detach().float().cpu()[alive.cpu()]
    if not len(directions):
        return Hedging(None, None, 0.0)
    nearest = nearest_cosines(directions, truth, 1)
    near = nearest.values[:, 0] >= OF_A_FEATURE
    if not near.any():
        return Hedging(None, None, 0.0)
    own, g = directions[near], nearest.indices[near, 0]
    deviation = own / torch.linalg.vecdot(own, truth[g]).unsqueeze(1) - truth[g]
    v = beside[g].double()
    square = float(v.square().sum())
    score = float((deviation.double() * v).sum()) / square if square else None
    return Hedging(score, float(v.norm(dim=1).mean()), float(near.float().mean()))
