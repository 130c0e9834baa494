"""A finished run of every kind of file, made by the stages: half a megabyte, so that damage to it is soon looked at."""

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from analyze.stage import measure_run
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from train.stage import train
from winnow.config.experiment import Experiment
from winnow.runtime.stage import Interrupted

HOOK = "blocks.1.hook_resid_post"


def settings(folder: Path, model: Path) -> Experiment:
    """Write the configuration of the run."""
    grid = {"n_latents": [8, 12], "k": [2], "architecture": "topk"}
    return load(
        write_config(
            folder,
            model,
            text={"context": 8, "tokens": 320, "held_out_sequences": 4},
            harvest={"hooks": [HOOK], "rows_per_shard": 144},
            train={"dictionaries": [grid], "rows": 1024, "batch_rows": 256, "snapshots": 1, "held_out_rows": 16},
            analyze={"features": ["none"]},
        )
    )


def make_runs(folder: Path, model: Path) -> tuple[Experiment, Experiment]:
    """Make a run with tokens, activations, two dictionaries with snapshots, and a report; and one with a checkpoint."""
    config = settings(folder, model)
    make_tokens(config)
    harvest(config)
    begun = _begun(config)
    shutil.copytree(config.run, begun.run)
    with patch("train.sweep._Sweep._finish_ended", _stop), pytest.raises(Interrupted):
        train(begun)
    train(config)
    with patch("analyze.report.page.write_report", _page):
        measure_run(config)
    return config, begun


def _begun(config: Experiment) -> Experiment:
    """Configure the run whose one dictionary is not finished."""
    (grid,) = config.train.dictionaries
    grids = [grid.model_copy(update={"n_latents": [6]})]
    train = config.train.model_copy(update={"dictionaries": grids, "snapshots": 0})
    return config.model_copy(update={"run": f"{config.run}-begun", "train": train})


def _page(metrics, folder: Path, polytopes) -> Path:
    (folder / "index.html").write_text("<p>a page</p>")
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "figures" / "fvu.csv").write_text("n_latents,fvu\n8,0.5\n")
    return folder / "index.html"


def _stop(*_) -> None:
    raise Interrupted("stopped before it was saved")
