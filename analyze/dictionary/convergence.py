"""Read the trainer's verdict on whether a dictionary converged.

The rule is in train/convergence.py only: the slope of the held-out loss over the last doubling of the rows at full
rate, the cosine of the directions with themselves at half the rows, and whether the dictionary has learned since its
start. The trainer writes the numbers and its verdict to training.json. A dictionary that another program trained has no
verdict; one of an older version may have stalled without anybody knowing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow.dictionary import REMEDY, TRAINING, Dictionary
from winnow.fields import Fields

Entry = Mapping[str, Any]


def convergence(dictionary: Dictionary) -> dict[str, Any] | None:
    """Return the trainer's verdict and its numbers, as in `metrics.json`; None if there is no verdict."""
    record = dictionary.provenance.get("convergence")
    if record is None:
        return None
    settings = dictionary.provenance.get("settings") or {}
    fields = Fields((dictionary.path or Path()) / TRAINING, record, "convergence", REMEDY)
    fields.text("reason")
    fields.flag("converged")
    for name in ("slope", "self_similarity"):
        if name not in record:
            raise fields.wrong(f"convergence.{name}", "a number or null", "no such field")
    ended_by_rule = record["reason"] == "converged"
    return {
        **{key: record[key] for key in ("slope", "self_similarity", "converged")},
        **{key: record.get(key) for key in ("start_similarity", "loss_share", "stalled")},
        "caveat": _stalled(record)
        if record.get("stalled")
        else None
        if record["converged"]
        else _caveat(record, settings),
        "reason": record["reason"],
        "held_at": held_at(dictionary.provenance.get("rows"), settings.get("decay")) if ended_by_rule else None,
    }


def held_at(rows: int | None, decay: float | None) -> float | None:
    """Compute the rows at which the rule held: the learning rate decays over the last `decay` of all rows."""
    return None if rows is None or decay is None else rows * (1 - decay)


def _stalled(record: Mapping[str, Any]) -> str:
    numbers = (
        ("held-out FVU", "fvu"),
        ("cosine with its start", "start_similarity"),
        ("loss, divided by the start's,", "loss_share"),
    )
    known = [f"{name} {record[key]:.4g}" for name, key in numbers if record.get(key) is not None]
    return f"stalled: it stands still and has not learned ({', '.join(known)}); raise learning_rate"


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
