"""metrics.jsonl: the training curve of one dictionary, one JSON object per line.

rows, loss (of the scaled activations, penalties included), mse (mean over rows of ‖x − x̂‖², in the activations' own
units), fvu, l0, rows_per_second: each over the rows since the previous line. dead: share of latents that have not
fired for 10 M rows, or a tenth of the training if that is less. Some lines also have eval_loss, eval_fvu, eval_l0: of
the dictionary as it would be saved, on held-out rows (train/evaluation.py).
"""

import json
from collections.abc import Mapping
from pathlib import Path

from winnow.runtime.publish import publish_text

CURVE = "metrics.jsonl"


def append_point(folder: Path, point: Mapping[str, int | float]) -> None:
    """Append a line."""
    with (folder / CURVE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(point) + "\n")


def cut_curve(folder: Path, rows: int) -> None:
    """Drop the points after `rows`; a training that resumes there writes them again."""
    path = folder / CURVE
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["rows"] <= rows]
        publish_text(path, "".join(kept))
