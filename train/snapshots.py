"""Dictionaries as they were on the way, at log-spaced rows, so that phase transitions can be plotted.

dictionaries/<hook>/<name>/snapshots/rows-0000000131072/   an ordinary dictionary, `winnow.load_dictionary` opens it

They are no dictionaries of the run of their own: `winnow.load_dictionaries` finds the finished ones only.
"""

import math
from pathlib import Path
from typing import Any

from train.member import Member
from winnow.dictionary import save_dictionary

SNAPSHOTS = "snapshots"


def snapshot_due(before: int, rows: int, per_doubling: int, first: int) -> bool:
    """Tell whether the step from `before` to `rows` reaches one of first · 2^(i / per_doubling), i = 0, 1, …"""
    return per_doubling > 0 and _passed(rows, per_doubling, first) > _passed(before, per_doubling, first)


def snapshot_path(folder: Path, rows: int) -> Path:
    """Name the folder of the snapshot of a dictionary after `rows` rows."""
    return folder / SNAPSHOTS / f"rows-{rows:013d}"


def write_snapshot(member: Member, scale: float, metadata: dict[str, Any], record: dict[str, Any]) -> None:
    """Save a dictionary as it is now; a training that goes on from before writes the same once more."""
    save_dictionary(member.dictionary(scale), snapshot_path(member.planned.folder, member.rows), metadata, record)


def _passed(rows: int, per_doubling: int, first: int) -> int:
    """Count the rows of the series up to `rows`."""
    return 0 if rows < first else 1 + math.floor(per_doubling * math.log2(rows / first) + 1e-9)
