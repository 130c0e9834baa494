"""Compare two dictionaries by what they do on the same rows: firing, novelty, and the null of their covariance."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyze.cosines import nearest_cosines, unit
from analyze.covariance_null import covariance_null
from analyze.functional import agreement
from analyze.regression import decompose
from analyze.stitching import auc, insert
from winnow.dictionary import Dictionary


def compare_on_rows(
    a: Dictionary,
    b: Dictionary,
    alive: tuple[Bool[Tensor, " n_a"], Bool[Tensor, " n_b"]],
    rows: Float[Tensor, "row d_model"],
    covariance: Float[Tensor, "d_model d_model"],
    seed: int,
) -> dict[str, Any]:
    """Compare A with B, one way, under the names of `metrics.json`; alive latents only."""
    mine, theirs = (mask.nonzero()[:, 0] for mask in alive)
    if not len(mine) or not len(theirs):
        return {}
    directions, others = a.W_dec.detach()[mine], b.W_dec.detach()[theirs]
    near = nearest_cosines(directions, others, 1)
    agreed = agreement(a, b, rows, (mine, theirs[near.indices[:, 0]]))
    inserted = insert(a, b, rows)
    fires = inserted.power[mine] > 0
    novel = inserted.novel[mine][fires].numpy()
    generator = torch.Generator().manual_seed(seed)
    random = unit(torch.randn(others.shape, generator=generator))
    return {
        "covariance_null": covariance_null(covariance, len(mine), len(theirs), generator),
        "functional": {
            "correlation": _mean(agreed.correlation),
            "jaccard": _mean(agreed.jaccard),
            "masked_to_target": _mean(agreed.masked_to_b),
            "masked_to_source": _mean(agreed.masked_to_a),
        },
        "stitching": {
            "novel": float(novel.mean()) if len(novel) else float("nan"),
            "auc": auc(-near.values[:, 0][fires].double().numpy(), novel),
        },
        "meta": {
            "explained": float(decompose(directions, others).r2[:, -1].double().mean()),
            "random": float(decompose(directions, random).r2[:, -1].double().mean()),
        },
    }


def _mean(values: Tensor) -> float:
    return float(values.nanmean())
