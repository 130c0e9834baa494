"""A miniature of each toy configuration, through all four stages and through them again."""

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

from analyze.polytopes import Polytopes
from analyze.report.page import render_page, report_sections
from analyze.runs.compare_runs import compare_runs
from analyze.schema.report import Metrics
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, load
from train.stage import train
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.verify import verify


@pytest.fixture(params=["toy", "toy-strong", "synthsaebench-16k"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Experiment:
    """The configuration with a sixteenth of its dimensions, features and latents, or fewer, and few rows."""
    full = tomllib.loads((ROOT / "configs" / f"{request.param}.toml").read_text(encoding="utf-8"))
    full["run"] = str(tmp_path / "run")
    full["toy"] |= {"rows": 2000, "active": 2.0, "decay": 0.9, "held_out_rows": 1000}
    for key in ("d_model", "n_features"):
        full["toy"][key] //= 16
    if request.param == "synthsaebench-16k":
        full["toy"] |= {"n_features": 64, "roots": 4, "children": 2, "depth": 2}
        del full["toy"]["decay"]
        for grid in full["train"]["dictionaries"]:
            grid |= {"n_latents": [512, 1024], "k": [2], "seed": [0, 1], "learning_rate": 3e-3}
    full["train"] |= {"rows": 2000, "batch_rows": 200, "loggers": []}
    for grid in full["train"]["dictionaries"]:
        grid["n_latents"] = [n // 16 for n in grid["n_latents"][:2]]
        for key in ("k", "l1_coefficient"):
            if key in grid:
                grid[key] = [min(2, grid[key][0])]
    path = tmp_path / "toy.toml"
    path.write_text(tomli_w.dumps(full))
    return load(path)


def write_page(metrics: Metrics, folder: Path, polytopes: Polytopes) -> Path:
    """The page without the figures' files, which take the time."""
    page = folder / "index.html"
    page.write_text(render_page(metrics, report_sections(metrics), False))
    return page


def test_the_miniature_goes_through_all_stages_and_then_has_nothing_to_do(
    config: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("analyze.report.page.write_report", write_page)
    for stage in (make_tokens, harvest, train, lambda c: compare_runs(c, [])):
        stage(config)
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert config.toy is not None
    assert metrics["run"]["toy"] == config.toy.of_the_rows()
    unknown = {"shared_ngrams": None, "dropped_sequences": None}  # toy data have no text
    assert metrics["evaluation"] == {"sequences": 1000, "rows": 1000, **unknown}
    assert len(metrics["dictionaries"]) == 8
    for entry in metrics["dictionaries"]:
        assert entry["ce"] is None
        assert 0 < entry["fvu"] < (20 if entry["architecture"] == "relu" else 1)  # relu has hardly begun
        assert entry["hook"] == "toy"
        assert (entry["truth"]["structure"] is not None) == (config.toy.roots > 0)
    assert metrics["pairs"]
    assert metrics["ceilings"]
    assert not (tmp_path / "run" / "report" / "features").exists()
    verify(config)
    capsys.readouterr()
    for stage in (harvest, train, lambda c: compare_runs(c, [])):
        stage(config)
        assert "nothing to do" in capsys.readouterr().out


def test_settings_that_changed_since_the_harvest_are_refused(config: Experiment, tmp_path: Path) -> None:
    harvest(config)
    with pytest.raises(UserError, match=r"toy\.seed = 0, now toy\.seed = 1"):
        compare_runs(load(tmp_path / "toy.toml", "--toy.seed", "1"), [])
