"""Test whether the rule of `train.rows = "converged"` stops training when no more true features are being found.

Each dictionary that the rule stopped is compared with its longest-trained twin, which differs only in the rows it
saw: recovery when the rule first held (the learning rate decays only after that), recovery at the end, and the
twin's recovery after more rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.ladders import kind_of
from analyze.truth.learning import improved_until, value_at

Entry = Mapping[str, Any]


def stopping(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Judge every dictionary of `metrics.json` that the rule stopped and whose truth is known.

    `share` is its recovery over `final`, the recovery of its longest-trained `twin`, or its own if it has no twin.
    """
    return [_judged(entry, _twin(entry, entries)) for entry in entries if _ended_by_the_rule(entry)]


def _judged(entry: Entry, twin: Entry | None) -> dict[str, Any]:
    longest = entry if twin is None else twin
    held_at, own = entry["convergence"].get("held_at"), _stages(entry)
    final = longest["truth"]["recovered"]
    return {
        "path": entry["path"],
        "twin": None if twin is None else twin["path"],
        "twin_rows": None if twin is None else twin["rows"],
        "held_at": held_at,
        "rows": entry["rows"],
        "recovered_at": None if own is None or held_at is None else value_at(held_at, own["rows"], own["recovered"]),
        "recovered": entry["truth"]["recovered"],
        "final": final,
        "share": entry["truth"]["recovered"] / final if final else None,
        "improved_until": None if (all_of := _stages(longest)) is None else _improved(all_of),
    }


def _improved(stages: Mapping[str, Any]) -> float | None:
    return improved_until(stages["rows"], stages["recovered"])


def _stages(entry: Entry) -> Mapping[str, Any] | None:
    return entry["truth"].get("snapshots")


def _ended_by_the_rule(entry: Entry) -> bool:
    return bool(entry.get("truth")) and (entry.get("convergence") or {}).get("reason") == "converged"


def _twin(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    kind = kind_of(entry, but=("rows", "run"))
    alike = [other for other in entries if other.get("truth") and kind_of(other, but=("rows", "run")) == kind]
    longest = max(alike, key=lambda other: other["rows"] or 0)
    return longest if (longest["rows"] or 0) > (entry["rows"] or 0) else None
