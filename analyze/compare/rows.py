"""Compare two dictionaries on the same rows: firing, novelty and families."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from analyze.compare.families import Candidates, Relations, candidates, related
from analyze.compare.functional import Agreement, functional_agreement
from analyze.compare.stitching import auc, insert
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
) -> OnRows:
    """Compare both ways; alive latents only, None where there are none."""
    near = candidates(a, b, alive)
    agreed = functional_agreement(a, b, rows, (near.a, near.b))
    relations = related(near, agreed, alive)
    if not len(near.a):
        return OnRows(NOTHING, NOTHING, relations)
    back = Candidates(near.b, near.a, near.cosines, near.nearest_of_b, near.nearest_of_a)
    agreed_back = agreed._replace(masked_to_b=agreed.masked_to_a, masked_to_a=agreed.masked_to_b)
    return OnRows(_one_way(a, b, near, agreed, rows), _one_way(b, a, back, agreed_back, rows), relations)


def _one_way(a: Dictionary, b: Dictionary, near: Candidates, agreed: Agreement, rows: Tensor) -> dict[str, Any]:
    """Compare A's alive features with their nearest in B."""
    nearest = near.nearest_of_a
    inserted = insert(a, b, rows)
    latents = near.a[nearest]
    fires = inserted.power[latents] > 0
    novel = inserted.novel[latents][fires].numpy()
    return {
        "functional": {
            "correlation": _mean(agreed.correlation[nearest]),
            "jaccard": _mean(agreed.jaccard[nearest]),
            "masked_to_target": _mean(agreed.masked_to_b[nearest]),
            "masked_to_source": _mean(agreed.masked_to_a[nearest]),
        },
        "stitching": {
            "novel": float(novel.mean()) if len(novel) else float("nan"),
            "auc": auc(-near.cosines[nearest][fires].double().numpy(), novel),
        },
    }


def _mean(values: Tensor) -> float:
    return float(values.nanmean())
