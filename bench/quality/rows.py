"""Measured cells, one JSON file each, so that a killed benchmark goes on where it was.

rows/<cell>.json    {"cell": …, "setup": …, "version": …, "fvu": …, "l0": …, "dead": …, "seconds": …}

A file that was made with another setup does not count, and is made anew. fvu is null where training diverged. seconds
are of one core; where a trainer trains all in one sweep, its first row has those of the sweep.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.quality.plan import Cell, Setup
from winnow.runtime.publish import publish_text


class Quality(NamedTuple):
    """A dictionary on held-out rows."""

    fvu: float  # NaN where training diverged
    l0: float
    dead: float  # share of the latents that no held-out row activates


def write_row(folder: Path, setup: Setup, cell: Cell, quality: Quality, version: str, seconds: float) -> None:
    """Keep what was measured of a cell."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {name: value if math.isfinite(value) else None for name, value in quality._asdict().items()}
    row = {
        "cell": cell._asdict(),
        "setup": setup.to_json(),
        "version": version,
        **numbers,
        "seconds": round(seconds, 2),
    }
    publish_text(folder / f"{cell.name}.json", json.dumps(row) + "\n")


def read_rows(folder: Path, setup: Setup, cells: Iterable[Cell]) -> dict[Cell, Quality]:
    """Read the cells that are there, made with this setup."""
    found = {}
    for cell in cells:
        path = folder / f"{cell.name}.json"
        if path.exists():
            row = json.loads(path.read_text(encoding="utf-8"))
            if row["setup"] == setup.to_json():
                numbers = {name: math.nan if row[name] is None else row[name] for name in Quality._fields}
                found[cell] = Quality(**numbers)
    return found
