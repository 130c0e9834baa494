"""train.compute_dtype: what it changes, and that it stays what a training began with."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from tests.stores import planted
from tests.train.experiments import load, write_run
from train.stage import train
from winnow.errors import UserError

TOPK: dict[str, Any] = {"architecture": "topk", "n_latents": 48, "k": 3, "learning_rate": 1e-2}


def test_bfloat16_learns_as_float32_does(tmp_path: Path) -> None:
    x, _ = planted(1000, 16, 40, 3)
    fvu = {}
    for dtype in ("float32", "bfloat16"):
        train(load(write_run(tmp_path / dtype, [TOPK], compute_dtype=dtype)))
        d = winnow.load_dictionaries(tmp_path / dtype / "run")[0]
        assert d.W_dec.dtype == torch.float32
        fvu[dtype] = float((d(x) - x).square().sum() / (x - x.mean(0)).square().sum())
    assert fvu["bfloat16"] != fvu["float32"]
    assert abs(fvu["bfloat16"] - fvu["float32"]) < 0.03


def test_change_of_compute_dtype_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK], rows=1000)
    train(load(path))
    record = next((tmp_path / "run" / "dictionaries").glob("*/*/training.json"))
    assert json.loads(record.read_text())["settings"]["compute_dtype"] == "float32"
    with pytest.raises(UserError, match="was made with compute_dtype = 'float32', now compute_dtype = 'bfloat16'"):
        train(load(path, "--train.compute_dtype", "bfloat16"))


def test_unknown_compute_dtype_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.compute_dtype"):
        load(write_run(tmp_path, [TOPK], compute_dtype="float16"))
