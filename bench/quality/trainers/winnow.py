"""winnow's own train stage, with its defaults: all cells in one sweep."""

import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import tomli_w

from bench.quality.data import Batches
from bench.quality.plan import DECAY, WARMUP, Cell
from train.plan import plan_dictionaries
from train.stage import train as train_stage
from winnow.config.command_line import load_experiment
from winnow.shards.manifest import read_manifest

PENALTY = {"relu": "l1_coefficient", "gated": "l1_coefficient", "jumprelu": "l0_coefficient"}
VERSION = next((f"winnow {found.version}" for found in distributions(name="winnow")), "winnow")  # not among the peers


def train(cells: Sequence[Cell], batches: Batches, folder: Path) -> Iterator[tuple[Cell, Path | None]]:
    """Train cells; None in place of the folder of one that diverged."""
    setup = batches.setup
    run = folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    activations = run / "activations"
    if not activations.exists():
        activations.symlink_to(Path(setup.activations).resolve())
    settings: dict[str, Any] = {
        "run": str(run),
        "train": {
            "rows": setup.steps * setup.batch_rows,
            "batch_rows": setup.batch_rows,
            "held_out_rows": setup.held_out_rows,
            "warmup": WARMUP,
            "decay": DECAY,
            "loggers": [],
            "dictionaries": _grids(cells, setup.n_latents, setup.hook),
        },
    }
    (folder / "config.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
    config = load_experiment("", ["--config", str(folder / "config.toml")])
    train_stage(config)
    for planned in plan_dictionaries(config, read_manifest(activations).written, run / "dictionaries"):
        own = planned.settings
        cell = Cell("winnow", own.architecture, float(own.sparsity[1]), own.learning_rate, own.seed)
        if cell in cells:
            yield cell, None if planned.failed else planned.folder
    shutil.rmtree(run)


def _grids(cells: Sequence[Cell], n_latents: int, hook: str) -> list[dict[str, Any]]:
    """List one grid for each architecture, rate and seed."""
    grids: dict[tuple[str, float, int], list[float]] = {}
    for cell in cells:
        grids.setdefault((cell.architecture, cell.rate, cell.seed), []).append(cell.sparsity)
    return [
        {
            "architecture": architecture,
            "n_latents": n_latents,
            "hooks": [hook],
            "learning_rate": rate,
            "seed": seed,
            PENALTY.get(architecture, "k"): values if architecture in PENALTY else [int(value) for value in values],
        }
        for (architecture, rate, seed), values in grids.items()
    ]
