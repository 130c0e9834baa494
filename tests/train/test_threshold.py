"""The threshold of batchtopk and matryoshka lets k latents through on average, however short the training was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.experiments import HOOK, load, write_run
from train import plan
from train.loader import Loader
from train.stage import train
from winnow import load_dictionaries, load_dictionary
from winnow.store import ActivationStore

K = 3


def l0_at_the_end(folder: Path, architecture: str, rows: int) -> tuple[float, float]:
    """Train; return L0 on the rows trained on, and on the held-out ones as the curve's last point has it."""
    grid: dict[str, Any] = {"architecture": architecture, "n_latents": 48, "k": K, "learning_rate": 4e-3}
    train(load(write_run(folder, [grid], rows=rows)))
    (path,) = (folder / "run" / "dictionaries" / HOOK).iterdir()
    store = ActivationStore(folder / "run" / "activations")
    x = store.read(HOOK, 0, 2900).float()
    last = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
    return float((load_dictionary(path).encode(x) > 0).sum(1).double().mean()), last["eval_l0"]


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka"])
def test_k_latents_are_active_after_a_short_training(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = l0_at_the_end(tmp_path / "again", architecture, rows=5000)
    monkeypatch.setattr(plan, "THRESHOLD_ROWS", None)
    running, _ = l0_at_the_end(tmp_path / "running", architecture, rows=5000)
    assert abs(found / K - 1) < 0.02
    assert abs(running / K - 1) > 0.05  # what the running mean gave


def test_a_threshold_that_does_not_hold_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("winnow.sparsity.L0_TOLERANCE", 1e-9)
    _, held_out = l0_at_the_end(tmp_path, "batchtopk", rows=5000)
    assert f"row 5,000: {held_out:.1f} latents are active on held-out rows, k = 3; " in capsys.readouterr().err


def test_rows_from_all_over_the_store_are_the_same_at_every_call(tmp_path: Path) -> None:
    write_run(tmp_path, [])
    store = ActivationStore(tmp_path / "run" / "activations")
    whole = store.read(HOOK, 0, 2900)
    loader = Loader(store, HOOK, 7, 1000, 2900)
    some = loader.spread(400)
    assert len(some) == 400
    assert torch.equal(some, loader.spread(400))
    places = (some[:, None] == whole).all(2).int().argmax(1)
    assert (some == whole[places]).all()
    assert len(places.unique()) > 370  # some rows are zero, and equal
    assert torch.histc(places.double(), 4, 0, 2900).min() > 50  # no quarter of the store is left out
    assert len(loader.spread(10**9)) == 2900


def test_dictionaries_that_end_together_have_the_thresholds_of_those_alone(tmp_path: Path) -> None:
    kinds = [{"architecture": name, "n_latents": 48, "k": K} for name in ("batchtopk", "matryoshka")]
    train(load(write_run(tmp_path / "together", kinds)))
    thresholds = []
    for kind in kinds:
        train(load(write_run(tmp_path / kind["architecture"], [kind])))
        alone, together = (
            {d.architecture: d.get_parameter("threshold") for d in load_dictionaries(tmp_path / run / "run")}
            for run in (kind["architecture"], "together")
        )
        torch.testing.assert_close(together[kind["architecture"]], alone[kind["architecture"]], rtol=1e-6, atol=0)
        thresholds.append(float(alone[kind["architecture"]].max()))
    assert min(thresholds) > 0
