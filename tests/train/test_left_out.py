"""Hooks on which nothing can be trained: they are named and left out, and the others are trained."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.stores import planted, write_store
from tests.train.experiments import HOOK, load, weights, write_run
from train.stage import train
from winnow.errors import UserError

ODD = "blocks.0.hook_mlp_out"
TOPK: dict[str, Any] = {"architecture": "topk", "n_latents": 24, "k": 3}
REASONS: list[tuple[Tensor, str]] = [
    (torch.zeros(1, 16), "its activations are all zero"),
    (torch.arange(16.0)[None] / 7, "its rows are all equal"),
    (torch.full((1, 16), 1e36), "its activations are too large for products in float32 (mean norm 4e+36)"),
    (torch.full((1, 16), 1e-36), "its activations are too small for products in float32 (mean norm 4e-36)"),
]


def write(folder: Path, odd: Tensor) -> Path:
    x, _ = planted(1000, 16, 40, 3)
    write_store(folder / "run" / "activations", {ODD: odd.repeat(len(x), 1), HOOK: x})
    return write_run(folder, [TOPK], rows=2000)


@pytest.mark.parametrize(("odd", "reason"), REASONS)
def test_the_other_hook_is_trained_and_this_one_named(
    tmp_path: Path, odd: Tensor, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, odd)
    train(load(path))
    assert f"{ODD}: left out of the training; {reason}\n" in capsys.readouterr().err
    assert list(weights(tmp_path / "run")) == [f"{HOOK}/topk-24-k3-seed0"]
    assert not (tmp_path / "run" / "dictionaries" / ODD).exists()
    train(load(path))
    out, err = capsys.readouterr()
    assert out.endswith("1 dictionaries are there; nothing to do\n")
    assert f"{ODD}: left out of the training; {reason}\n" in err


@pytest.mark.parametrize(("odd", "reason"), REASONS)
def test_where_no_other_hook_is_there_is_nothing_to_train(tmp_path: Path, odd: Tensor, reason: str) -> None:
    write_store(tmp_path / "run" / "activations", {HOOK: odd.repeat(100, 1)})
    with pytest.raises(
        UserError, match=rf"activations: {HOOK}: {re.escape(reason)}; there is nothing to train; choose"
    ):
        train(load(write_run(tmp_path, [TOPK])))


def test_a_finished_dictionary_stays_whatever_its_hook_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path, [TOPK], rows=2000)
    train(load(path))
    capsys.readouterr()
    write_store(tmp_path / "other", {HOOK: torch.zeros(3000, 16)})
    (tmp_path / "other" / "statistics.h5").replace(tmp_path / "run" / "activations" / "statistics.h5")
    train(load(path))  # as a run of an older version, which is finished
    out, err = capsys.readouterr()
    assert out.endswith("1 dictionaries are there; nothing to do\n")
    assert err == ""


def test_a_small_spread_about_a_large_mean_is_trained(tmp_path: Path) -> None:
    x, _ = planted(1000, 16, 40, 3)
    write_store(tmp_path / "run" / "activations", {HOOK: x * 1e-3 + 100})
    train(load(write_run(tmp_path, [TOPK], rows=1000)))
    assert len(weights(tmp_path / "run")) == 1
