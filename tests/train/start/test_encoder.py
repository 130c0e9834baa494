"""How large the encoder starts, how a dictionary says so, and those begun before there was a choice."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.train.experiments import HOOK, load, weights, write_run
from train.plan import ENCODER_STARTS, THRESHOLD_ROWS, default_start, plan_dictionaries
from train.settings import DictionarySettings
from train.stage import train
from winnow.config.experiment import LEAST_SQUARES, TRANSPOSE
from winnow.encoder_start import encoder_gain
from winnow.errors import UserError
from winnow.runtime.hashes import HASHES

RELU: dict[str, Any] = {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5}


def random_start(n: int, d: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return F.normalize(torch.randn(n, d, generator=generator), dim=1), torch.randn(3000, d, generator=generator)


@pytest.mark.parametrize("n", [16, 64, 512])
def test_least_squares_errs_least(n: int) -> None:
    W, x = random_start(n, 32)
    x = x[:2048]

    def error(gain: float) -> float:
        return float((x - (gain * x @ W.T).relu() @ W).square().sum())

    gain = encoder_gain(LEAST_SQUARES, W, x)
    assert all(error(gain) < error(factor * gain) for factor in (0.9, 0.99, 1.01, 1.1))
    if n == 512:
        assert gain == pytest.approx(2 * 32 / n, rel=0.25)
        assert error(gain) < float(x.square().sum()) < error(1.0)  # the transpose overshoots


def test_the_transpose_and_numbers_need_no_rows() -> None:
    W, none = torch.eye(3), torch.empty(0, 3)
    assert encoder_gain(TRANSPOSE, W, none) == 1
    assert encoder_gain(0.25, W, none) == 0.25
    assert encoder_gain(LEAST_SQUARES, W, torch.zeros(5, 3)) == 1


def plan(tmp_path: Path, *grids: dict[str, Any]) -> dict[str, DictionarySettings]:
    found = plan_dictionaries(load(write_run(tmp_path, [*grids])), {"hooks": {HOOK: 16}}, tmp_path / "run/dictionaries")
    return {planned.name: planned.settings for planned in found}


def test_the_start_is_named_where_it_is_not_the_usual_one(tmp_path: Path) -> None:
    starts = [0.1, 0.3, TRANSPOSE, LEAST_SQUARES]
    found = plan(tmp_path, RELU | {"encoder_start": starts})
    names = {name: settings.encoder_start for name, settings in found.items()}
    assert names == {
        "relu-48-l1_0.5-seed0": 0.1,
        "relu-48-l1_0.5-encoder0.3-seed0": 0.3,
        "relu-48-l1_0.5-transpose-seed0": TRANSPOSE,
        "relu-48-l1_0.5-least_squares-seed0": LEAST_SQUARES,
    }
    assert ENCODER_STARTS["relu"] == default_start(found["relu-48-l1_0.5-seed0"]) == 0.1


def test_one_is_the_transpose_and_a_tied_encoder_has_no_start(tmp_path: Path) -> None:
    assert "relu-48-l1_0.5-transpose-seed0" in plan(tmp_path, RELU | {"encoder_start": 1})
    assert plan(tmp_path, RELU | {"tied": True})["relu-tied-48-l1_0.5-seed0"].encoder_start == TRANSPOSE
    with pytest.raises(UserError, match="encoder_start has no meaning where tied = true"):
        plan(tmp_path, RELU | {"tied": True, "encoder_start": 0.1})
    with pytest.raises(UserError, match="each once"):
        plan(tmp_path, RELU | {"encoder_start": [1, TRANSPOSE]})
    for wrong in (0, -1, "small", True):
        with pytest.raises(UserError, match=re.escape("train.dictionaries.0.encoder_start")):
            plan(tmp_path, RELU | {"encoder_start": wrong})


@pytest.mark.parametrize("start", [0.1, LEAST_SQUARES, TRANSPOSE])
def test_training_begins_there_and_says_so(start: Any, tmp_path: Path) -> None:
    grid = RELU | {"encoder_start": start, "learning_rate": 1e-12}
    train(load(write_run(tmp_path, [grid], rows=250, warmup=0.0)))
    (path,) = (tmp_path / "run" / "dictionaries" / HOOK).iterdir()
    from winnow import load_dictionary

    dictionary = load_dictionary(path)
    ratios = dictionary.W_enc.norm(dim=0)
    assert float(ratios.std()) < 1e-4
    expected = {0.1: 0.1, TRANSPOSE: 1.0}.get(start)
    assert float(ratios.mean()) == pytest.approx(expected, rel=1e-4) if expected else 0.1 < float(ratios.mean()) < 1
    assert json.loads((path / "training.json").read_text())["settings"]["encoder_start"] == start


OLD = {"encoder_start": TRANSPOSE, "gradient_norm": 0}


def forget_the_setting(folder: Path) -> None:
    """Make records what they were before `encoder_start` and `gradient_norm`, and the name what it was."""
    for path in [folder / "training.json", *folder.glob("checkpoints/*/state.json")]:
        if path.exists():
            record = json.loads(path.read_text())
            del record["settings"]["encoder_start"], record["settings"]["gradient_norm"]
            path.write_text(json.dumps(record))
            (path.parent / HASHES).unlink(missing_ok=True)  # nor were hashes kept then
    (folder.parents[2] / HASHES).unlink(missing_ok=True)
    folder.rename(folder.with_name(folder.name.replace("-clip0-transpose", "")))


def test_a_finished_dictionary_of_the_old_start_stays_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(load(write_run(tmp_path, [RELU | OLD], rows=500)))
    folder = tmp_path / "run" / "dictionaries" / HOOK
    forget_the_setting(folder / "relu-48-l1_0.5-clip0-transpose-seed0")
    before = weights(tmp_path / "run")
    for grid in (RELU, RELU | {"encoder_start": TRANSPOSE}, RELU | {"gradient_norm": 0}, RELU | OLD):
        (settings,) = plan(tmp_path, grid).values()
        assert (settings.encoder_start, settings.gradient_norm) == (TRANSPOSE, 0)
        capsys.readouterr()
        train(load(write_run(tmp_path, [grid], rows=500)))
        assert weights(tmp_path / "run") == before
        assert "1 of them goes on as an older version began" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"seed0 was made with encoder_start = 'transpose', now encoder_start = 0\.1"):
        train(load(write_run(tmp_path, [RELU | {"encoder_start": 0.1}], rows=500)))
    train(load(write_run(tmp_path, [RELU | {"encoder_start": 0.2}], rows=500)))
    assert len(weights(tmp_path / "run")) == 2


def test_a_training_begun_before_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grids: list[dict[str, Any]] = [RELU | OLD, {"architecture": "topk", "n_latents": 32, "k": 3, **OLD}]
    whole, part = tmp_path / "whole", tmp_path / "part"
    train(load(write_run(whole, grids, rows=2000)))
    expected = {name.replace("-clip0-transpose", ""): found for name, found in weights(whole / "run").items()}

    from train import sweep

    original = sweep._Sweep._save

    def die(self: Any) -> None:
        original(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep._Sweep, "_save", die)
        with pytest.raises(KeyboardInterrupt):
            train(load(write_run(part, grids, rows=2000)))
    for folder in list((part / "run" / "dictionaries" / HOOK).iterdir()):
        forget_the_setting(folder)
    silent = [{key: value for key, value in grid.items() if key not in OLD} for grid in grids]
    train(load(write_run(part, silent, rows=2000)))
    assert weights(part / "run") == expected
    train(load(write_run(part, silent, rows=2000)))  # and is finished then
    assert weights(part / "run") == expected


@pytest.mark.parametrize("start", [0.1, 0.3])
def test_a_training_begun_before_clipping_keeps_its_own_start(start: float, tmp_path: Path) -> None:
    """The version before knew `encoder_start`, named it where it was not the default, and did not clip."""
    kinds = [RELU, {"architecture": "batchtopk", "n_latents": 32, "k": 3}]
    grids: list[dict[str, Any]] = [kind | {"encoder_start": start, "gradient_norm": 0} for kind in kinds]
    train(load(write_run(tmp_path, grids, rows=500)))
    for folder in list((tmp_path / "run" / "dictionaries" / HOOK).iterdir()):
        record = json.loads((folder / "training.json").read_text())
        del record["settings"]["gradient_norm"]
        (folder / "training.json").write_text(json.dumps(record))
        folder.rename(folder.with_name(folder.name.replace("-clip0", "")))
    (tmp_path / "run" / HASHES).unlink()
    before = weights(tmp_path / "run")
    asked: list[dict[str, Any]] = [kind | {"encoder_start": start} for kind in kinds]
    for more in ({}, {"gradient_norm": 0}):
        found = plan(tmp_path, *(kind | more for kind in asked))
        assert {(one.encoder_start, one.gradient_norm) for one in found.values()} == {(start, 0)}
        assert {one.threshold_rows for one in found.values()} == {None, THRESHOLD_ROWS}
        train(load(write_run(tmp_path, [kind | more for kind in asked], rows=500)))
        assert weights(tmp_path / "run") == before
    if start == ENCODER_STARTS["relu"]:  # also where the configuration is silent
        assert plan(tmp_path, RELU)["relu-48-l1_0.5-seed0"].gradient_norm == 0
    with pytest.raises(UserError, match=r"was made with gradient_norm = 0\.0, now gradient_norm = 1\.0"):
        train(load(write_run(tmp_path, [asked[0] | {"gradient_norm": 1}], rows=500)))
