"""Massive rows are left out of training: it is that of a store that never held them."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import winnow
from tests.massive import MASSIVE, ROWS, D, before_norms, rows_with_massive, stores
from tests.stores import write_store
from tests.train.experiments import HOOK, load, weights, write_run
from tests.train.test_ranks import finish, torchrun
from train import sweep
from train.loader import BLOCK_ROWS, Loader
from train.stage import train
from winnow.errors import UserError
from winnow.massive.kept import kept_rows
from winnow.runtime.stage import Interrupted

pytestmark = pytest.mark.usefixtures("two_threads")

GRIDS: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": 32, "k": 4, "initialisation": "pca"},
    {"architecture": "relu", "n_latents": 32, "l1_coefficient": 0.5, "b_dec": "geometric_median"},
]
SETTINGS: dict[str, Any] = {"rows": 12_000, "batch_rows": 500, "checkpoint_rows": 2000, "window_mib": 1}


def trained(folder: Path, *arguments: str) -> dict[str, winnow.Dictionary]:
    train(load(write_run(folder, GRIDS, **SETTINGS), *arguments))
    return {d.path.name: d for d in winnow.load_dictionaries(folder / "run") if d.path}


def curve(d: winnow.Dictionary) -> list[dict[str, float]]:
    assert d.path is not None
    points = [json.loads(line) for line in (d.path / "metrics.jsonl").read_text().splitlines()]
    return [point | {"rows_per_second": 0} for point in points]


@pytest.mark.parametrize("window_bytes", [2**22, pytest.param(5000, marks=pytest.mark.slow)])
def test_stream_is_that_of_a_store_without_them(window_bytes: int, tmp_path: Path) -> None:
    whole, less = stores(tmp_path)
    kept = kept_rows(whole, HOOK, 10)
    with_them = Loader(whole, HOOK, 0, window_bytes, 9000, kept)
    without = Loader(less, HOOK, 0, window_bytes, 9000)
    for batch, other in zip(with_them.batches(0, 20_000, 256), without.batches(0, 20_000, 256), strict=True):
        assert torch.equal(batch, other)
    halfway = torch.cat(list(with_them.batches(10_240, 20_000, 256)))
    assert torch.equal(halfway, torch.cat(list(without.batches(0, 20_000, 256)))[10_240:])


def test_massive_rows_at_every_start_of_a_sequence_are_left_out_of_full_batches(tmp_path: Path) -> None:
    """One row in sixteen, as where attention rests on the first position: blocks are of the rows that are left."""
    x = rows_with_massive()
    x[::16] *= 100
    store = write_store(tmp_path, {HOOK: x})
    kept = kept_rows(store, HOOK, 10)
    assert kept.rows <= ROWS - ROWS // 16
    loader = Loader(store, HOOK, 0, 5 * BLOCK_ROWS * 4 * D, kept=kept)
    batches = list(loader.batches(0, kept.rows, 100))
    assert {len(batch) for batch in batches[:-1]} == {100}
    rows = np.delete(x.numpy(), kept.massive, axis=0)
    seen = torch.cat(batches).numpy()
    np.testing.assert_array_equal(seen[np.lexsort(seen.T)], rows[np.lexsort(rows.T)])


def test_training_is_that_of_a_store_without_them(tmp_path: Path) -> None:
    stores(tmp_path)
    found, expected = trained(tmp_path / "with"), trained(tmp_path / "without")
    assert found.keys() == expected.keys()
    for name, d in found.items():
        for key, value in d.named_parameters():
            torch.testing.assert_close(value, expected[name].get_parameter(key), rtol=1e-6, atol=1e-6, msg=name)
        scales = (d.provenance["folded_scale"], expected[name].provenance["folded_scale"])
        assert scales[0] == pytest.approx(scales[1], rel=1e-9)
        for point, other in zip(curve(d), curve(expected[name]), strict=True):
            assert point == pytest.approx(other, rel=1e-6)
        assert expected[name].provenance["left_out"] is None


def test_what_was_left_out_is_on_record(tmp_path: Path) -> None:
    whole, _ = stores(tmp_path)
    for d in trained(tmp_path / "with").values():
        record = d.provenance["left_out"]
        assert (record["rows"], record["bound"], record["median_norm"]) == (2, 10, whole.median_norm(HOOK))
        assert d.provenance["settings"]["massive_norm"] == 10
        assert d.path is not None
        config = json.loads((d.path / "cfg.json").read_text())
        assert config["metadata"]["winnow"] == {"left_out": record}


def test_zero_takes_them_in(tmp_path: Path) -> None:
    stores(tmp_path)
    found = trained(tmp_path / "with", "--massive_norm", "0")
    expected = trained(tmp_path / "without")
    for name, d in found.items():
        assert (d.provenance["left_out"], "massive_norm" in d.provenance["settings"]) == (None, False)
        assert d.provenance["folded_scale"] != pytest.approx(expected[name].provenance["folded_scale"], rel=1e-3)
        assert not torch.allclose(d.W_dec, expected[name].W_dec, atol=1e-2)
    with pytest.raises(UserError, match=r"massive_norm = 0.0, now massive_norm = 10.0"):
        trained(tmp_path / "with")
    with pytest.raises(UserError, match=r"massive_norm = 10.0, now massive_norm = 0.0"):
        trained(tmp_path / "without", "--massive_norm", "0")


def test_stopped_training_goes_on_to_equal_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("one", "other"):
        stores(tmp_path / part)
    trained(tmp_path / "one" / "with")
    steps = 0
    original = sweep.Stack.train_on

    def stop_in_step(*arguments: Any, **named: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 15:
            os.kill(os.getpid(), signal.SIGTERM)
        original(*arguments, **named)

    monkeypatch.setattr(sweep.Stack, "train_on", stop_in_step)
    with pytest.raises(Interrupted):
        trained(tmp_path / "other" / "with")
    trained(tmp_path / "other" / "with")
    runs = [tmp_path / part / "with" / "run" for part in ("one", "other")]
    assert weights(runs[0]) == weights(runs[1])


@pytest.mark.slow
def test_without_massive_rows_not_a_byte_changes(tmp_path: Path) -> None:
    """Whether they would be left out or not, and as a store from before norms were kept."""
    for part in ("usual", "zero", "older"):
        store = stores(tmp_path / part)[1]
        if part == "older":
            before_norms(store)
        trained(tmp_path / part / "without", *(("--massive_norm", "0") if part == "zero" else ()))
    usual, zero, older = (weights(tmp_path / part / "without" / "run") for part in ("usual", "zero", "older"))
    assert usual == zero == older
    assert len(usual) == 2


def test_older_store_is_trained_on_whole(tmp_path: Path) -> None:
    before_norms(stores(tmp_path)[0])
    older = trained(tmp_path / "with")
    stores(tmp_path / "again")
    taken_in = trained(tmp_path / "again" / "with", "--massive_norm", "0")
    assert not any("massive_norm" in d.provenance["settings"] for d in older.values())
    for name, d in older.items():
        assert torch.equal(d.W_dec, taken_in[name].W_dec)
    with pytest.raises(UserError, match=r"activations: massive_norm = 20 needs the norms .* harvest into a new run"):
        trained(tmp_path / "with", "--massive_norm", "20")


def test_bound_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose 1 or more, or 0"):
        load(write_run(tmp_path, GRIDS), "--massive_norm", "0.5")


@pytest.mark.torchrun
def test_ranks_that_share_each_dictionary_leave_them_out_too(tmp_path: Path) -> None:
    stores(tmp_path)
    grids = [{"architecture": "relu", "n_latents": 32, "l1_coefficient": 0.5}]
    finish(torchrun(write_run(tmp_path / "with", grids, **SETTINGS), "--train.shard_latents", "true"))
    train(load(write_run(tmp_path / "without", grids, **SETTINGS)))
    [found], [expected] = (winnow.load_dictionaries(tmp_path / part / "run") for part in ("with", "without"))
    assert found.provenance["left_out"]["rows"] == len(MASSIVE)
    for key, value in found.named_parameters():
        torch.testing.assert_close(value, expected.get_parameter(key), rtol=1e-5, atol=1e-5)
