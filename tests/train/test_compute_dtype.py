"""train.compute_dtype: what it changes, and that it stays what a training began with."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from tests.stores import planted
from tests.train.experiments import HOOK, load, weights, write_run
from train import compute_dtype
from train.compute_dtype import resolved
from train.plan import Planned, plan_dictionaries
from train.settings import DictionarySettings
from train.signals import Stop
from train.stage import train
from winnow.errors import UserError
from winnow.runtime.stage import Interrupted

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


def settings(run: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text())["settings"] for path in sorted(run.glob("dictionaries/*/*/training.json"))]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Pretend that every GPU is of the compute capability in this list."""
    capability = [(9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[0])
    return capability


def test_the_device_chooses_what_is_left_open(tmp_path: Path, gpus: list[tuple[int, int]]) -> None:
    def chosen(dtype: str, device: str) -> str:
        own = DictionarySettings(architecture="topk", n_latents=8, k=1, compute_dtype=dtype)  # type: ignore[arg-type]
        (one,) = resolved([Planned("hook", tmp_path, own)], torch.device(device))
        return one.settings.compute_dtype

    assert (chosen("auto", "cpu"), chosen("auto", "cuda")) == ("float32", "bfloat16")
    for dtype in ("float32", "bfloat16"):
        assert (chosen(dtype, "cpu"), chosen(dtype, "cuda")) == (dtype, dtype)
    assert chosen("tf32", "cuda:1") == "tf32"
    with pytest.raises(UserError, match=r"^train\.compute_dtype = tf32: .* would be trained on cpu; set model\.device"):
        chosen("tf32", "cpu")
    gpus[0] = (7, 5)  # has neither
    assert chosen("auto", "cuda") == "float32"
    with pytest.raises(UserError, match="Ampere or later"):
        chosen("tf32", "cuda")


def test_tf32_is_refused_on_a_cpu_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^train\.compute_dtype = tf32: [^\n]*$"):
        train(load(write_run(tmp_path, [TOPK], rows=1000, compute_dtype="tf32")))


def test_what_auto_became_is_stored(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK], rows=1000)
    assert load(path).train.compute_dtype == "auto"
    train(load(path))
    assert [own["compute_dtype"] for own in settings(tmp_path / "run")] == ["float32"]
    train(load(path, "--train.compute_dtype", "float32"))  # the same


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_goes_on_in_the_dtype_it_began_in(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it began on a device that favours one, and goes on where another would be chosen."""
    other = "float32" if dtype == "bfloat16" else "bfloat16"
    whole, halves = (write_run(tmp_path / name, [TOPK], rows=2000) for name in ("whole", "halves"))
    monkeypatch.setattr(compute_dtype, "usual_dtype", lambda on_gpu: dtype)
    train(load(whole))
    with monkeypatch.context() as patch:
        patch.setattr(Stop, "requested", "SIGTERM")
        with pytest.raises(Interrupted):
            train(load(halves))
    monkeypatch.setattr(compute_dtype, "usual_dtype", lambda on_gpu: other)
    train(load(halves))
    assert [own["compute_dtype"] for own in settings(tmp_path / "halves" / "run")] == [dtype]
    assert weights(tmp_path / "halves" / "run") == weights(tmp_path / "whole" / "run")
    train(load(write_run(tmp_path / "halves", [TOPK, TOPK | {"n_latents": 32}], rows=2000)))  # one more in the same run
    assert [own["compute_dtype"] for own in settings(tmp_path / "halves" / "run")] == [dtype, dtype]
    with pytest.raises(UserError, match=f"was made with compute_dtype = '{dtype}', now compute_dtype = '{other}'"):
        train(load(halves, "--train.compute_dtype", other))


def test_a_record_from_before_there_was_the_setting_is_of_float32() -> None:
    assert DictionarySettings.from_json({"architecture": "topk", "n_latents": 8, "k": 1}).compute_dtype == "float32"


def test_names_do_not_depend_on_the_dtype(tmp_path: Path) -> None:
    names = set()
    for dtype in ("auto", "float32", "bfloat16", "tf32"):
        config = load(write_run(tmp_path, [TOPK], compute_dtype=dtype))
        (one,) = plan_dictionaries(config, {"hooks": {HOOK: 16}}, tmp_path / "none")
        assert one.settings.compute_dtype == dtype
        names.add(one.name)
    assert names == {"topk-48-k3-lr0.01-seed0"}
