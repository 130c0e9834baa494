"""A miniature of each experiment of docs/results/experiments.md: its configuration, but small, through all stages."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from analyze.report import page
from analyze.runs.compare_runs import compare_runs
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, write_text
from train.stage import train
from winnow.config.command_line import load_experiment

PAGE = (ROOT / "docs" / "results" / "experiments.md").read_text(encoding="utf-8")
EXPERIMENTS = (
    "published-sweep",
    "initialisations-toy",
    "initialisations-toy-strong",
    "initialisations-demo",
    "undertraining",
    "undertraining-converged",
)


def miniature(name: str, folder: Path) -> dict[str, Any]:
    """Make an experiment small: two sizes, seeds, penalties, initialisations of each grid, and a few thousand rows."""
    config = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8"))
    config |= {"run": str(folder / "run")}
    if "toy" in config:
        config["toy"] |= {"d_model": 16, "n_features": 24, "active": 2.0, "rows": 4000, "held_out_rows": 600}
    else:
        write_text(folder / "text")
        config["text"] |= {
            "source": f"files:{folder}/text/*.txt",
            "context": 16,
            "tokens": 2400,
            "held_out_sequences": 20,
        }
        config["harvest"]["sequences_per_batch"] = 32
    end = {"max_rows": 6400} if config["train"]["rows"] == "converged" else {"rows": 3200}
    config["train"] |= {"batch_rows": 100, **end}
    for grid in config["train"]["dictionaries"]:
        several = isinstance(grid["n_latents"], list)
        grid["n_latents"] = [24, 40] if several else 40
        for key in {"seed", "l1_coefficient"} & grid.keys():
            grid[key] = grid[key][:2] if isinstance(grid[key], list) else grid[key]
        if "initialisation" in grid:
            grid["initialisation"] = grid["initialisation"][-2:]
        if "k" in grid:
            grid["k"] = 2
    return config


@pytest.mark.experiments
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_miniature_runs_through_all_stages(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # figures as files for a paper take half of the time
    monkeypatch.setattr(page, "write_figures", lambda charts, folder: folder.mkdir(parents=True))
    config = miniature(name, tmp_path)
    path = tmp_path / f"{name}.toml"
    path.write_text(tomli_w.dumps(config))
    experiment = load_experiment("test", ["--config", str(path)])
    make_tokens(experiment)
    harvest(experiment)
    train(experiment)
    compare_runs(experiment, [])
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())

    grids = config["train"]["dictionaries"]
    assert len(metrics["dictionaries"]) == sum(_size(grid) for grid in grids)
    assert (tmp_path / "run" / "report" / "index.html").exists()
    for entry in metrics["dictionaries"]:
        assert ("toy" in config) == (entry.get("truth") is not None)
        assert entry["fvu"] > 0
    if name.startswith("initialisations"):
        asked = {initialisation for grid in grids for initialisation in grid["initialisation"]}
        assert {group["options"]["initialisation"] for group in metrics["groups"]} == asked
        assert all(difference["option"] == "initialisation" for difference in metrics["differences"])
        assert any(difference["of"] == "fvu" for difference in metrics["differences"])
    if name == "published-sweep":
        (grid,) = metrics["choosing"]
        assert (grid["sizes"], grid["sparsities"]) == ([24, 40], config["train"]["dictionaries"][0]["l1_coefficient"])
        assert {entry["options"]["l1_reduction"] for entry in metrics["dictionaries"]} == {"mean"}
    if name == "undertraining":
        for entry in metrics["dictionaries"]:
            assert entry["snapshots"]["rows"][:4] == [100, 200, 400, 800]
            assert len(entry["truth"]["snapshots"]["recovered"]) == len(entry["truth"]["snapshots"]["rows"])
    if name == "undertraining-converged":
        assert {entry["convergence"]["reason"] for entry in metrics["dictionaries"]} <= {"converged", "ceiling"}
        assert len(metrics["stopping"]) == sum(
            entry["convergence"]["reason"] == "converged" for entry in metrics["dictionaries"]
        )


def _size(grid: dict[str, Any]) -> int:
    lists = [value for value in grid.values() if isinstance(value, list)]
    size = 1
    for values in lists:
        size *= len(values)
    return size


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_in_the_docs(name: str) -> None:
    assert f"make all CONFIG=configs/{name}.toml" in PAGE


def test_converged_training_sees_the_data_of_the_one_of_fixed_rows() -> None:
    """Else the two could not be held against each other."""
    fixed, converged = (
        tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8"))
        for name in ("undertraining", "undertraining-converged")
    )
    assert fixed["toy"] == converged["toy"]
    assert fixed["train"]["dictionaries"] == converged["train"]["dictionaries"]
    assert converged["train"]["max_rows"] * (1 - converged["train"]["decay"]) == fixed["train"]["rows"]
