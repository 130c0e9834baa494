"""Degenerate sizes and values through every stage: one line or a report, never a traceback or a warning."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from analyze.stage import measure_run
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from tests.models import save_model
from train.stage import train
from winnow.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_threads")]

RESIDUAL, MLP = "blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"
ALL: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": [1, 4], "k": [1]},
    {"architecture": "batchtopk", "n_latents": [4], "k": [1]},
    {"architecture": "gated", "n_latents": [4], "l1_coefficient": [0.1]},
    {"architecture": "jumprelu", "n_latents": [4], "l0_coefficient": [0.01]},
]
TRAIN = {"rows": 512, "batch_rows": 64, "loggers": []}


def through(path: Path, *stages: Callable[..., None]) -> dict[str, Any]:
    """Run stages, all by default, and read the metrics."""
    for stage in stages or (make_tokens, harvest, train, measure_run):
        stage(load(path))
    return json.loads((path.parent / "run" / "report" / "metrics.json").read_text())


def toy(folder: Path, toy: dict[str, Any], **sections: Any) -> Path:
    path = folder / "toy.toml"
    config = {"run": str(folder / "run"), "toy": {"d_model": 8, "n_features": 16, "held_out_rows": 64, **toy}}
    config |= {"harvest": {"storage_dtype": "float32"}, "train": {**TRAIN, "dictionaries": ALL}} | sections
    path.write_text(tomli_w.dumps(config))
    return path


def text(folder: Path, hooks: list[str], dictionaries: list[dict[str, Any]], **sections: Any) -> Path:
    harvested = {"hooks": hooks, **sections.pop("harvest", {})}
    model = save_model("gpt2", folder / "model")
    trained = {**TRAIN, "dictionaries": dictionaries}
    return write_config(folder, model, harvest=harvested, train=trained, **sections)


def change_model(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model" / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize(
    "settings",
    [
        {"rows": 2, "held_out_rows": 1},
        {"rows": 300, "d_model": 1, "n_features": 1, "active": 0.5},
        {"rows": 4000, "active": 1e-2},
        {"rows": 300, "magnitude": "normal", "magnitude_spread": 1e20},
    ],
    ids=["two rows", "one dimension", "rows nearly all zero", "values of 1e20"],
)
def test_toy_data(tmp_path: Path, settings: dict[str, Any]):
    metrics = through(toy(tmp_path, settings))
    assert len(metrics["dictionaries"]) == 5


def test_one_of_two_hooks_is_constant_and_one_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = text(tmp_path, ["blocks.0.hook_mlp_out", MLP, RESIDUAL], ALL[:1])

    def silence(weights: dict[str, torch.Tensor]) -> None:
        for layer in (0, 1):
            weights[f"transformer.h.{layer}.mlp.c_proj.weight"].zero_()
        weights["transformer.h.0.mlp.c_proj.bias"].zero_()
        weights["transformer.h.1.mlp.c_proj.bias"].copy_(torch.arange(32.0))

    change_model(tmp_path, silence)
    metrics = through(path)
    assert {d["hook"] for d in metrics["dictionaries"]} == {RESIDUAL}
    out, err = capsys.readouterr()
    for hook, reason in (("blocks.0.hook_mlp_out", "its activations are all zero"), (MLP, "its rows are all equal")):
        assert f"{hook}: left out of the training; {reason}\n" in err
        assert f"{hook}: {reason}. No dictionary can be trained there" in " ".join(out.split())


def test_activations_of_a_model_are_huge(tmp_path: Path):
    path = text(tmp_path, [MLP], ALL)
    change_model(tmp_path, lambda weights: weights["transformer.h.1.mlp.c_proj.weight"].mul_(1e24))
    metrics = through(path)
    assert all(0 < d["fvu"] < 2 for d in metrics["dictionaries"])
    assert all(d["rows_left_out"] == 0 for d in metrics["dictionaries"])


def test_a_hook_one_number_wide(tmp_path: Path):
    metrics = through(text(tmp_path, ["blocks.0.ln1.hook_scale"], ALL))
    assert [hook["width"] for hook in metrics["activations"]] == [1]


@pytest.mark.parametrize("value", [3e38, 0.0])
def test_a_dictionary_of_elsewhere_has_finite_weights_of_any_size(tmp_path: Path, value: float):
    path = text(tmp_path, [RESIDUAL], [{"architecture": "topk", "n_latents": [16], "k": [4]}])
    for stage in (make_tokens, harvest, train):
        stage(load(path))
    (own,) = (tmp_path / "run" / "dictionaries" / RESIDUAL).iterdir()
    other = own.with_name("other")
    other.mkdir()
    (other / "cfg.json").write_bytes((own / "cfg.json").read_bytes())
    weights = load_file(own / "sae_weights.safetensors")
    save_file({name: torch.full_like(w, value) for name, w in weights.items()}, other / "sae_weights.safetensors")
    metrics = through(path, measure_run)
    assert len(metrics["dictionaries"]) == 2


def test_one_sequence_is_too_few_to_train_and_two_are_enough(tmp_path: Path):
    path = text(tmp_path, [RESIDUAL], ALL[:1], text={"tokens": 32, "held_out_sequences": 1})
    with pytest.raises(UserError, match=r"all 16 rows are of one sequence; .*; harvest more in a new run"):
        through(path)
    (tmp_path / "two").mkdir()
    metrics = through(text(tmp_path / "two", [RESIDUAL], ALL[:1], text={"tokens": 48, "held_out_sequences": 1}))
    assert metrics["evaluation"]["rows"] == 16


def test_held_out_rows_that_are_all_massive_are_named(tmp_path: Path):
    path = toy(tmp_path, {"rows": 1000, "held_out_rows": 1, "seed": 3}, massive_norm=1.0)
    with pytest.raises(UserError, match=r"massive_norm = 1: all 1 held-out rows at toy are massive, .*held_out_rows"):
        through(path)
