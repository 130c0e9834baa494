"""Compare two dictionaries on the same rows: firing, novelty and families."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from analyze.compare.families import Candidates, Relations, candidates, related
from analyze.compare.functional import Agreement, functional_agreement
from analyze.compare.stitching import ITSELF, Rescaled, auc, insert
from winnow.dictionary import Dictionary

NOTHING: dict[str, Any] = {"functional": None, "stitching": None}


class OnRows(NamedTuple):
    """A in B and B in A, named as in `metrics.json`, and the relations between their features."""

    forth: dict[str, Any]
    back: dict[str, Any]
    relations: Relations


def compare_on_rows(
    a: Dictionary,
    b: Dictionary,
    alive: tuple[Bool[Tensor, " n_a"], Bool[Tensor, " n_b"]],
    rows: Float[Tensor, "row d_model"],
    rescaled: tuple[Rescaled, Rescaled] | None = None,
) -> OnRows:
    """Compare both ways; alive latents only, None where there are none.

    `rescaled` are the gains of both on the same rows, from `Rescaled.of`; without them they are found here.
    """
    near = candidates(a, b, alive)
    agreed = functional_agreement(a, b, rows, (near.a, near.b))
    relations = related(near, agreed, alive)
    if not len(near.a):
        return OnRows(NOTHING, NOTHING, relations)
    of_a, of_b = rescaled or (Rescaled.of(a, alive[0], rows), Rescaled.of(b, alive[1], rows))
    back = near._replace(a=near.b, b=near.a, nearest_of_a=near.nearest_of_b, nearest_of_b=near.nearest_of_a)
    return OnRows(
        _one_way((a, b), (of_a, of_b), near, agreed, rows),
        _one_way((b, a), (of_b, of_a), back, agreed.turned(), rows),
        relations,
    )


def _one_way(
    dictionaries: tuple[Dictionary, Dictionary],
    rescaled: tuple[Rescaled, Rescaled],
    near: Candidates,
    agreed: Agreement,
    rows: Tensor,
) -> dict[str, Any]:
    """Compare A's alive features with their nearest in B."""
    nearest = near.nearest_of_a
    return {
        "functional": {
            "correlation": _mean(agreed.correlation[nearest]),
            "jaccard": _mean(agreed.jaccard[nearest]),
            "masked_to_target": _mean(agreed.masked_to_b[nearest]),
            "masked_to_source": _mean(agreed.masked_to_a[nearest]),
            "jaccard_null": _mean(agreed.jaccard_null[nearest]),
            "masked_to_target_null": _mean(agreed.masked_to_b_null[nearest]),
            "masked_to_source_null": _mean(agreed.masked_to_a_null[nearest]),
        },
        "stitching": _stitching(dictionaries, rescaled, near, rows),
    }


def _stitching(
    dictionaries: tuple[Dictionary, Dictionary], rescaled: tuple[Rescaled, Rescaled], near: Candidates, rows: Tensor
) -> dict[str, Any]:
    """Count A's alive features that are novel to B; NaN where more than `ITSELF` of either are novel to themselves."""
    to_itself = float(np.max([one.novel_to_itself for one in rescaled]))  # NaN where either is
    if not to_itself <= ITSELF:
        return {"novel": float("nan"), "novel_to_itself": to_itself, "auc": float("nan")}
    change = insert(*dictionaries, rows, (rescaled[0].refits, rescaled[1].refits))[near.a[near.nearest_of_a]]
    known = ~change.isnan()
    novel = (change[known] < 0).numpy()
    cosines = near.cosines[near.nearest_of_a][known].double().numpy()
    return {
        "novel": float(novel.mean()) if len(novel) else float("nan"),
        "novel_to_itself": to_itself,
        "auc": auc(-cosines, novel),
    }


def _mean(values: Tensor) -> float:
    return float(values.nanmean())
