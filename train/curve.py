"""metrics.jsonl: the training curve of one dictionary, one JSON object per line.

rows, loss (of the scaled activations, penalties included), mse (mean over rows of ‖x − x̂‖², in the activations' own
units), fvu, l0, rows_per_second: each over the rows since the previous line. dead: share of latents that have not
fired for 10 M rows, or a tenth of the training if that is less. Some lines also have eval_loss, eval_fvu, eval_l0: of
the dictionary as it would be saved, on held-out rows (train/evaluation.py).
"""

import json
from collections.abc import Mapping
from pathlib import Path

from winnow.errors import UserError
from winnow.fields import Fields, parse_json
from winnow.runtime.exhausted import naming
from winnow.runtime.publish import publish_text

CURVE = "metrics.jsonl"


def append_point(folder: Path, point: Mapping[str, int | float]) -> None:
    """Append a line."""
    path = folder / CURVE
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(point) + "\n")


def cut_curve(folder: Path, rows: int) -> None:
    """Drop the points after `rows`; a training that resumes there writes them again."""
    path = folder / CURVE
    if path.exists():
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if rows else []
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: expected UTF-8, found other bytes at byte {error.start}; delete it") from error
        whole = lines if not lines or lines[-1].endswith("}\n") else lines[:-1]  # a kill cuts the last one
        points = [Fields(f"{path}, line {i}", parse_json(line, f"{path}, line {i}")) for i, line in enumerate(whole, 1)]
        kept = [line for line, point in zip(whole, points, strict=True) if point.integer("rows", 0) <= rows]
        publish_text(path, "".join(kept))
