"""Measure how fast a dictionary recovers the truth as it sees more rows.

found = learning(truth, stages, dictionary)
found["snapshots"]["recovered"]        # R(0.9) at each of found["snapshots"]["rows"]
found["rows_to_half"]                  # rows after which half of the true features are recovered
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.compare.cosines import max_cosines
from analyze.compare.decoder_null import decoder_null
from analyze.dictionary.snapshots import Stages
from analyze.format import Number, Values
from analyze.truth.scores import recovered
from winnow.dictionary import Dictionary

HALF = 0.5
SHARE = 0.95  # of the last value: above it, hardly any improvement is left


@torch.no_grad()
def learning(truth: Float[Tensor, "feature d_model"], stages: Stages, dictionary: Dictionary) -> dict[str, Any]:
    """Look up the true features in every stage; all None for a dictionary without snapshots."""
    found = stages.of(dictionary)
    if not found:
        return {"snapshots": None, "rows_to_half": None, "steepest": None}
    rows, shares, scores = list(found), [], []
    for folder in found.values():
        living = stages.living(folder)
        cosines = max_cosines(truth.to(living), living)[0].double().cpu().numpy()[: len(truth) if len(living) else 0]
        shares.append(recovered(cosines))
        scores.append(decoder_null(truth.to(living), living).corrected(float(cosines.mean())) if len(cosines) else None)
    return {
        "snapshots": {"rows": rows, "recovered": shares, "mmcs_corrected": scores},
        "rows_to_half": rows_to(HALF, rows, shares),
        "steepest": steepest(rows, shares),
    }


def rows_to(level: float, rows: Sequence[Number], values: Values) -> float | None:
    """Find the rows at which `values` first reach `level`, interpolated in log rows; None if they never do.

    If the first value already reaches `level`, the result is the first of `rows`, which is an upper bound.
    """
    known = [(row, value) for row, value in zip(rows, values, strict=True) if value is not None]
    for (a, low), (b, high) in pairwise([*known[:1], *known]):
        if high >= level:
            along = (level - low) / (high - low) if low < level else 0.0
            return math.exp(math.log(a) + along * math.log(b / a))
    return None


def value_at(row: Number, rows: Sequence[Number], values: Values) -> float | None:
    """Interpolate in log rows; None outside the range of known values."""
    known = [(r, value) for r, value in zip(rows, values, strict=True) if value is not None]
    for (a, low), (b, high) in pairwise([*known[:1], *known]):
        if a <= row <= b:
            return low + (high - low) * (math.log(row / a) / math.log(b / a) if b > a else 0.0)
    return None


def steepest(rows: Sequence[Number], values: Values) -> dict[str, float] | None:
    """Find the steepest rise of `values` per doubling of the rows: the midpoint of those two stages, and the rise.

    None if there are fewer than two values, or if nothing rises.
    """
    known = [(row, value) for row, value in zip(rows, values, strict=True) if value is not None]
    rises = [((high - low) / math.log2(b / a), math.sqrt(a * b)) for (a, low), (b, high) in pairwise(known)]
    rise, middle = max(rises, default=(0.0, 0.0))
    return {"rows": middle, "per_doubling": rise} if rise > 0 else None


def improved_until(rows: Sequence[Number], values: Values) -> float | None:
    """Find the rows at which `values` first reach 0.95 of the last value."""
    last = next((value for value in reversed(values) if value is not None), None)
    return None if not last else rows_to(SHARE * last, rows, values)
