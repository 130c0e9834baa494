"""Read the trainer's verdict on whether a dictionary converged.

The rule is in train/convergence.py only: the slope of the held-out loss over the last doubling of the rows at full
rate, and the cosine of the directions with themselves at half the rows. The trainer writes both numbers, and whether
they are within its bounds, to training.json. A dictionary that another program trained has no verdict.
"""

from collections.abc import Mapping
from typing import Any

from winnow.dictionary import Dictionary

Entry = Mapping[str, Any]


def convergence(dictionary: Dictionary) -> dict[str, Any] | None:
    """Return the trainer's verdict and its numbers, as in `metrics.json`; None if there is no verdict."""
    record = dictionary.provenance.get("convergence")
    if record is None:
        return None
    settings = dictionary.provenance.get("settings") or {}
    ended_by_rule = record["reason"] == "converged"
    return {
        **{key: record[key] for key in ("slope", "self_similarity", "converged")},
        "caveat": None if record["converged"] else _caveat(record, settings),
        "reason": record["reason"],
        "held_at": held_at(dictionary.provenance.get("rows"), settings.get("decay")) if ended_by_rule else None,
    }


def held_at(rows: int | None, decay: float | None) -> float | None:
    """Compute the rows at which the rule held: the learning rate decays over the last `decay` of all rows."""
    return None if rows is None or decay is None else rows * (1 - decay)


def _caveat(record: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Format both numbers with the trainer's bounds."""
    asked = (
        ("slope", "slope", "at most ±", "slope_bound"),
        ("self-similarity", "self_similarity", "at least ", "similarity_bound"),
    )
    return ", ".join(
        f"{name} not measured"
        if record[key] is None
        else f"{name} {record[key]:.2g}" + (f" ({words}{settings[bound]:g})" if bound in settings else "")
        for name, key, words, bound in asked
    )
