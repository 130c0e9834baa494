"""Has a dictionary stopped learning? A comparison of dictionaries that have not is a comparison of moments.

Two signs: how steeply the FVU still falls, and how far the directions turned over the last half of the training.
What the trainer measured of both (training.json: slope of the held-out loss over the last doubling at full rate; mean
cosine of each direction with itself at half the rows) is taken, and judged by its bounds. What it lacks is measured:
the slope of the training curve's FVU, and the mean max-cosine with the snapshot that is nearest to half of the rows.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from analyze.compare.cosines import max_cosines
from analyze.dictionary.snapshots import snapshot_folders
from winnow.dictionary import Dictionary, load_dictionary

TAIL = 0.5  # share of the rows, the last, over which the slope is taken


def slope(rows: Sequence[float | int], losses: Sequence[float | int | None]) -> float:
    """Compute d log loss / d log rows by least squares over the last half of the training; NaN from under 3 points."""
    points = [
        (math.log(row), math.log(loss))
        for row, loss in zip(rows, losses, strict=True)
        if loss is not None and loss > 0 and row >= TAIL * rows[-1]
    ]
    if len(points) < 3:
        return math.nan
    x, y = np.array(points).T
    return float(np.polyfit(x - x.mean(), y, 1)[0])


def self_similarity(final: Dictionary, earlier: Dictionary, alive: Bool[Tensor, " n_latents"]) -> float:
    """Compute the mean max-cosine of a dictionary's living features in itself at an earlier time; NaN without any."""
    found, _ = max_cosines(final.W_dec.detach()[alive], earlier.W_dec.detach())
    return float(found.double().mean()) if len(found) else math.nan


def half_trained(dictionary: Dictionary, rows: int | None) -> Dictionary | None:
    """Open the snapshot that is nearest to half of `rows`, from 40 to 60 % of them; None where there is none."""
    if not rows:
        return None
    snapshots = snapshot_folders(dictionary)
    near = [seen for seen in snapshots if abs(seen / rows - 0.5) <= 0.1]
    return load_dictionary(snapshots[min(near, key=lambda seen: abs(seen - rows / 2))]) if near else None


class Bounds(NamedTuple):
    """What counts as converged: a slope no further from 0, a self-similarity no lower."""

    slope: float = 0.1  # d log FVU / d log rows: doubling the rows would still lower the FVU by 7 %
    similarity: float = 0.9  # the directions turned by 26 degrees since half of the training


def verdict(slope: float, similarity: float, bounds: Bounds) -> tuple[bool | None, str | None]:
    """Judge by what is known (NaN: not), with what speaks against it; (None, None) where the slope is not known."""
    caveats = []
    if abs(slope) > bounds.slope:
        caveats.append(f"its loss still changes as rows^{slope:.2f}")
    if similarity < bounds.similarity:
        caveats.append(f"its features have a cosine of {similarity:.2f} with those at half the training")
    if caveats:
        return False, " and ".join(caveats)
    return (None, None) if math.isnan(slope) else (True, None)


def convergence(
    dictionary: Dictionary, rows: Sequence[int], fvus: Sequence[float | None], alive: Bool[Tensor, " n_latents"]
) -> dict[str, Any]:
    """Gather all signs under the names of `metrics.json`; `rows` and `fvus` are the training curve."""
    said = dictionary.provenance.get("convergence") or {}
    settings = dictionary.provenance.get("settings") or {}
    steepness, similarity, bounds = said.get("slope"), said.get("self_similarity"), Bounds()
    if steepness is None:
        steepness = slope(rows, fvus)
    else:
        bounds = bounds._replace(slope=settings.get("slope_bound", bounds.slope))
    if similarity is None:
        half = half_trained(dictionary, dictionary.provenance.get("rows"))
        similarity = math.nan if half is None else self_similarity(dictionary, half, alive)
    else:
        bounds = bounds._replace(similarity=settings.get("similarity_bound", bounds.similarity))
    ended = said.get("reason") == "converged"
    converged, caveat = verdict(steepness, similarity, bounds)
    return {
        "slope": steepness,
        "self_similarity": similarity,
        "converged": converged,
        "caveat": caveat,
        "reason": said.get("reason"),
        "held_at": held_at(dictionary.provenance.get("rows"), settings.get("decay")) if ended else None,
    }


def held_at(rows: int | None, decay: float | None) -> float | None:
    """Find the rows at which the trainer's rule held: over the last `decay` of all rows the rate only falls."""
    return None if rows is None or decay is None else rows * (1 - decay)
