"""The tail of a store: never trained on, and what dictionaries are judged by."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import winnow
from tests.stores import planted, write_store
from tests.train.experiments import HOOK, load, write_run
from train.evaluation import evaluated_rows, first_held_out
from train.loader import Loader
from train.settings import DictionarySettings
from train.stage import train
from winnow.errors import UserError

GRIDS: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": 48, "k": 3},
    {"architecture": "batchtopk", "n_latents": 48, "k": 3},
    {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5},
    {"architecture": "jumprelu", "n_latents": 48, "l0_coefficient": 0.1},
]


@pytest.mark.parametrize(("asked", "start"), [("auto", 2960), (1, 2992), (8, 2992), (9, 2976), (2983, 16)])
def test_tail_begins_with_a_sequence(asked: Any, start: int, tmp_path: Path) -> None:
    """3000 rows in sequences of 16, the last of 8; no shard but the last begins with one of the starts."""
    store = write_store(tmp_path, {"h": torch.ones(3000, 2)}, rows_per_shard=992)
    assert first_held_out(store, asked) == start


@pytest.mark.parametrize("asked", [2985, 3000, 4000])
def test_tail_that_leaves_nothing_is_refused(asked: int, tmp_path: Path) -> None:
    store = write_store(tmp_path, {"h": torch.ones(3000, 2)})
    with pytest.raises(UserError, match=re.escape(f"train.held_out_rows: {asked} rows, in whole sequences, are all")):
        first_held_out(store, asked)


def test_short_training_evaluates_few_of_many_held_out_rows() -> None:
    def of(**rows: Any) -> DictionarySettings:
        return DictionarySettings(architecture="topk", n_latents=48, k=3, batch_rows=4096, **rows)

    assert evaluated_rows(of(rows=1_000_000), 4500) == 4500
    assert evaluated_rows(of(rows=1_000_000), 65_536) == 5000
    assert evaluated_rows(of(rows=100_000), 65_536) == 4096
    assert evaluated_rows(of(rows="converged", max_rows=64_000_000), 65_536) == 10_000


def test_held_out_rows_are_never_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = planted(3000, 16, 40, 3)
    used: list[Tensor] = []
    original = Loader.batches

    def remember(self: Loader, start: int, stop: int, batch_rows: int):
        for batch in original(self, start, stop, batch_rows):
            used.append(batch.clone())
            yield batch

    monkeypatch.setattr(Loader, "batches", remember)
    train(load(write_run(tmp_path, GRIDS[:1], held_out_rows=500)))
    seen = {tuple(row) for row in torch.cat(used).tolist()}
    assert seen == {tuple(row) for row in x[:2496].tolist()}  # two epochs of all others


def test_evaluation_is_that_of_the_finished_dictionary(tmp_path: Path) -> None:
    path = write_run(tmp_path, GRIDS, held_out_rows=200)
    train(load(path))
    x, _ = planted(3000, 16, 40, 3)
    held_out = x[2800:].double()
    for d in winnow.load_dictionaries(tmp_path / "run"):
        assert d.path is not None
        last = json.loads((d.path / "metrics.jsonl").read_text().splitlines()[-1])
        d = d.double()
        f = d.encode(held_out)
        error = (d.decode(f) - held_out).square().sum()
        scale, settings = d.provenance["folded_scale"], d.provenance["settings"]
        penalty = settings.get("l1_coefficient", 0) * scale * f.sum(1) + settings.get("l0_coefficient", 0) * (
            f > 0
        ).sum(1)
        expected = {
            "eval_loss": float(error * scale**2 / len(f) + penalty.mean()),
            "eval_fvu": float(error / (held_out - x.double().mean(0)).square().sum()),
            "eval_l0": float((f > 0).double().sum(1).mean()),
        }
        assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_one_sequence_alone_cannot_be_split(tmp_path: Path) -> None:
    store = write_store(tmp_path, {HOOK: torch.randn(16, 4)}, context=16)
    with pytest.raises(UserError, match="all 16 rows are of one sequence; one is held out, and none is left"):
        first_held_out(store, "auto")
