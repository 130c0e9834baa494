"""Describe what dominates a hook's variance: massive rows, and the largest dimension.

`winnow.massive` says which rows are massive. They are named even where they are taken in: because `massive_norm` is 0,
or because the store was harvested before norms were kept.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from winnow.massive.kept import KeptRows
from winnow.massive.rows import find


def massive_rows(kept: KeptRows, bound: float | int) -> dict[str, Any] | None:
    """Describe a hook's massive rows, named as in `metrics.json`; None where there are none."""
    found = kept.left_out or find(kept.store, kept.hook, bound)
    return None if found is None else {**found.to_json(), "left_out": kept.left_out is not None, "token_texts": None}


def largest_dimension(kept: KeptRows, sample: Float[Tensor, "row d"]) -> dict[str, Any] | None:
    """Find the dimension of the largest variance over all harvested rows, and over a sample of the kept ones.

    None where nothing varies.
    """
    everything = torch.from_numpy(kept.store.statistics(kept.hook).m2)
    of_kept = sample.double().var(0, correction=0)
    if not everything.sum() or not of_kept.sum():
        return None
    return {
        **_largest(everything),
        **{f"kept_{name}": value for name, value in _largest(of_kept).items()},
    }


def _largest(variance: Tensor) -> Mapping[str, Any]:
    return {"dimension": int(variance.argmax()), "share": float(variance.max() / variance.sum())}
