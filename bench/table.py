"""A benchmark's rows: printed with their targets, and kept in `bench/results.json`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from winnow.runtime.publish import publish_text

RESULTS = Path(__file__).parent / "results.json"


class Row(NamedTuple):
    """One measured speed, or another quantity, and the reference it is compared with."""

    what: str
    speed: float
    reference: float
    unit: str
    target: float  # the smallest good ratio speed / reference
    less_is_better: bool = False  # for memory, say; then the target is the largest good ratio
    decimals: int = 0  # shown of speed and reference

    @property
    def ratio(self) -> float:
        return self.speed / self.reference

    @property
    def met(self) -> bool:
        return self.ratio <= self.target if self.less_is_better else self.ratio >= self.target


def publish_rows(section: str, against: str, rows: Iterable[Row], *, quick: bool = False) -> None:
    """Print a table, and replace `section` in the results file unless sizes are small (`quick`)."""
    kept = list(rows)
    table = Table(title=section + " (quick)" * quick)
    for column in ("", "measured", against, "ratio", "target", ""):
        table.add_column(column, justify="left" if not column else "right")
    for row in kept:
        table.add_row(
            row.what,
            f"{row.speed:,.{row.decimals}f} {row.unit}",
            f"{row.reference:,.{row.decimals}f} {row.unit}",
            f"{row.ratio:.3f}",
            f"{row.target:.2f}",
            "met" if row.met else "missed",
        )
    console = Console()
    console.width = max(console.width, 110)  # a log has no terminal's width
    console.print(table)
    if quick:
        return
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[section] = {
        "against": against,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "rows": [{**row._asdict(), "ratio": row.ratio} for row in kept],
    }
    publish_text(RESULTS, json.dumps(results, indent=1) + "\n")
