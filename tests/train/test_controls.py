"""Controls keep fixed what they must, see Gaussian rows where they must, and are marked."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import winnow
from tests.train.experiments import HOOK, KINDS, load, weights, write_run
from train import sweep
from train.plan import plan_dictionaries
from train.stage import train
from train.start.initialise import first_directions
from winnow.errors import UserError
from winnow.runtime.stage import Interrupted

CONTROLS = ["frozen_decoder", "frozen_encoder", "gaussian_rows"]
FAST = {"learning_rate": 1e-2, "n_latents": 48, "control": CONTROLS}


def controls(folder: Path) -> dict[str, winnow.Dictionary]:
    """Open a run's controls, by what they are controls for."""
    found = winnow.load_dictionaries(folder / "run", controls=True)
    named = {d.provenance["settings"].get("control"): d for d in found}
    return {name: d for name, d in named.items() if name}


def trained(folder: Path) -> winnow.Dictionary:
    (found,) = winnow.load_dictionaries(folder / "run")
    return found


def start(n: int = 48, d: int = 16) -> torch.Tensor:
    return first_directions("random", n, d, 0, lambda: torch.empty(0, d))


def cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(a, b, dim=1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["architecture"])
def test_what_is_frozen_never_moves_and_all_else_learns(kind: dict[str, Any], tmp_path: Path) -> None:
    train(load(write_run(tmp_path, [kind | FAST])))
    found, free = controls(tmp_path), trained(tmp_path)
    assert sorted(found) == sorted(CONTROLS)
    decoder, encoder = found["frozen_decoder"], found["frozen_encoder"]
    assert torch.equal(decoder.W_dec, start())  # to the bit
    assert cosines(decoder.W_enc.T, start()).min() < 0.9
    torch.testing.assert_close(cosines(encoder.W_enc.T, start()), torch.ones(48))
    assert len(encoder.W_enc.norm(dim=0).unique()) < 12  # one gain, but for rounding
    assert cosines(encoder.W_dec, start()).min() < 0.9
    assert not torch.equal(encoder.b_dec, decoder.b_dec)
    assert cosines(free.W_dec, start()).min() < 0.9
    assert cosines(free.W_enc.T, start()).min() < 0.9


def test_controls_are_marked_and_left_out_unless_asked_for(tmp_path: Path) -> None:
    train(load(write_run(tmp_path, [KINDS[3] | FAST])))
    folders = {path.name for path in (tmp_path / "run" / "dictionaries" / HOOK).iterdir()}
    assert folders == {"topk-48-k3-lr0.01-seed0"} | {f"topk-48-k3-lr0.01-{name}-seed0" for name in CONTROLS}
    assert "control" not in trained(tmp_path).provenance["settings"]
    for name, d in controls(tmp_path).items():
        assert d.path is not None
        assert json.loads((d.path / "training.json").read_text())["settings"]["control"] == name
    with pytest.raises(UserError, match="no finished dictionary"):
        winnow.load_dictionaries(tmp_path / "run", hook="blocks.1.hook_resid_post")


def test_there_is_one_of_each_kind_at_the_middle(tmp_path: Path) -> None:
    grids: list[dict[str, Any]] = [
        {"architecture": "topk", "n_latents": [64, 16, 32], "k": [2, 8, 4], "seed": [5, 6], "control": CONTROLS},
        {
            **{"architecture": "relu", "n_latents": [32, 16], "l1_coefficient": [0.5, 1.0], "control": CONTROLS[:1]},
            "initialisation": "pca",
        },
    ]
    path = write_run(tmp_path, grids, hooks=(HOOK, "other"))
    planned = plan_dictionaries(load(path), {"hooks": {HOOK: 16, "other": 16}}, tmp_path)
    found = [p for p in planned if p.settings.control]
    assert [(p.hook, p.name) for p in found] == [
        (hook, name)
        for hook in (HOOK, "other")
        for name in (
            *(f"topk-32-k4-{control}-seed5" for control in CONTROLS),
            "relu-16-l1_0.5-frozen_decoder-seed0",  # random directions, whatever the grid's initialisation
        )
    ]
    assert found[3].settings.resample_rows is None  # resampling moves what is frozen
    assert len(planned) - len(found) == 2 * (18 + 4)


def test_tied_weights_cannot_be_frozen_in_part(tmp_path: Path) -> None:
    grid = KINDS[0] | {"n_latents": 48, "tied": True}
    for control in CONTROLS[:2]:
        with pytest.raises(UserError, match=f"control = {control} has no meaning where tied = true"):
            load(write_run(tmp_path, [grid | {"control": control}]))
    load(write_run(tmp_path, [grid | {"control": "gaussian_rows"}]))
    with pytest.raises(UserError, match="each once"):
        load(write_run(tmp_path, [KINDS[0] | {"n_latents": 48, "control": ["gaussian_rows", "gaussian_rows"]}]))


def test_gaussian_rows_have_no_features_to_find(tmp_path: Path) -> None:
    """The trained one finds the features; the control's directions are none of them, and are evaluated on its rows."""
    from tests.stores import planted

    train(load(write_run(tmp_path, [KINDS[3] | FAST], rows=60_000)))
    _, features = planted(3000, 16, 40, 3)

    def present(d: winnow.Dictionary) -> float:
        return float((features @ d.W_dec.T).amax(1).mean())

    control = controls(tmp_path)["gaussian_rows"]
    assert present(trained(tmp_path)) > 0.85
    assert present(control) < 0.75
    assert control.path is not None
    last = json.loads((control.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["eval_fvu"] == pytest.approx(last["fvu"], rel=0.1)  # held-out rows of its own kind


def test_frozen_directions_do_not_count_as_stalled(tmp_path: Path) -> None:
    bounds: dict[str, Any] = {"slope_bound": 0.5, "similarity_bound": 0.8}
    grid = KINDS[3] | FAST | {"control": "frozen_decoder"}
    train(load(write_run(tmp_path, [grid], rows="converged", max_rows=60_000, **bounds)))
    verdict = controls(tmp_path)["frozen_decoder"].provenance["convergence"]
    assert (verdict["reason"], verdict["stalled"], verdict["start_similarity"]) == ("converged", False, None)


@pytest.mark.usefixtures("two_threads")
def test_stopped_controls_go_on_to_equal_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grids = [KINDS[0] | FAST, KINDS[4] | FAST, KINDS[0] | FAST | {"l1_coefficient": 0, "noise": [0.5, 1.0]}]
    train(load(write_run(tmp_path / "whole", grids)))
    path = write_run(tmp_path / "torn", grids)
    original, steps = sweep.Stack.train_on, 0

    def stop_in_step(*arguments: Any, **named: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 37:
            os.kill(os.getpid(), signal.SIGTERM)
        original(*arguments, **named)

    monkeypatch.setattr(sweep.Stack, "train_on", stop_in_step)
    with pytest.raises(Interrupted):
        train(load(path))
    assert steps < 200
    train(load(path))
    assert weights(tmp_path / "torn" / "run") == weights(tmp_path / "whole" / "run")
