"""The objective of Sharkey et al. 2022, in the activations' own units, against its formula in float64."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import winnow
from tests.stores import planted, write_store
from tests.train.experiments import HOOK, load, weights, write_run
from train.architectures import StepContext, architecture_of
from train.architectures.registry import in_training_units
from train.loader import Loader
from train.settings import DictionarySettings
from train.stage import train
from train.start.initialise import first_directions
from winnow.errors import UserError

D, N, ALPHA = 16, 48, 0.8
PUBLISHED: dict[str, Any] = {
    "architecture": "relu",
    "n_latents": N,
    "l1_coefficient": ALPHA,
    "l1_reduction": "mean",
    "b_dec": "none",
    "resample_rows": 0,
    "encoder_start": "transpose",
    "gradient_norm": 0.0,
}
NAME = "relu-48-l1mean_0.8-resample0-clip0-transpose-no_b_dec-seed0"
CONSTANT: dict[str, Any] = {"warmup": 0.0, "decay": 0.0}


def published_loss(p: dict[str, Tensor], x: Tensor) -> Tensor:
    """Average the squared error over rows and dimensions, |c| over rows and latents; x̂ has no bias."""
    c = (x @ p["W_enc"].T + p["b_enc"]).relu()
    return (c @ p["W_dec"] - x).square().mean() + ALPHA * c.abs().mean()


@pytest.mark.parametrize("scale", [1.0, 12.5])
def test_step_has_the_gradient_of_the_published_loss(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, D, generator=generator, dtype=torch.float64)
    shapes = {"W_enc": (N, D), "b_enc": (N,), "W_dec": (N, D)}
    p = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    leaves = {name: value.clone().requires_grad_() for name, value in p.items()}
    loss = published_loss(leaves, x)
    loss.backward()

    architecture = architecture_of(in_training_units(DictionarySettings(**PUBLISHED), D, scale))
    trained = {**p, "b_enc": scale * p["b_enc"], "b_dec": torch.zeros(D, dtype=torch.float64)}
    context = StepContext(1.0, torch.zeros(1, N, dtype=torch.bool))
    step = architecture.step({name: value.unsqueeze(0) for name, value in trained.items()}, scale * x, context)
    factor = 1 / (scale**2 * D)
    torch.testing.assert_close(step.loss[0] * factor, loss.detach(), rtol=1e-9, atol=0)
    for name, leaf in leaves.items():
        units = scale if name == "b_enc" else 1.0
        assert leaf.grad is not None
        torch.testing.assert_close(step.gradients[name][0] * factor * units, leaf.grad, rtol=1e-9, atol=1e-12)


def test_training_takes_the_steps_of_the_published_setting(tmp_path: Path) -> None:
    path = write_run(tmp_path, [PUBLISHED], **CONSTANT, scale_activations=False, rows=5000, batch_rows=250)
    train(load(path))
    found = winnow.load_dictionary(tmp_path / "run" / "dictionaries" / HOOK / NAME)

    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    directions = first_directions("random", N, D, 0, lambda: torch.empty(0)).double()
    start = {"W_enc": directions, "b_enc": torch.zeros(N).double(), "W_dec": directions}
    p = {name: value.clone().requires_grad_() for name, value in start.items()}
    adam = torch.optim.Adam(p.values(), lr=1e-3)
    for batch in Loader(store, HOOK, 0, 512 * 2**20, 2960).batches(0, 5000, 250):  # 30 rows, in whole sequences of 16
        adam.zero_grad()
        (published_loss(p, batch.double()) * D).backward()  # D: so that Adam's epsilon means the same
        assert p["W_dec"].grad is not None
        with torch.no_grad():
            along = torch.linalg.vecdot(p["W_dec"].grad, p["W_dec"]).unsqueeze(1)
            p["W_dec"].grad -= along * p["W_dec"]
            adam.step()
            p["W_dec"].copy_(F.normalize(p["W_dec"], dim=1))
    for name, value in {"W_enc": found.W_enc.T, "b_enc": found.b_enc, "W_dec": found.W_dec}.items():
        moved = (p[name] - start[name]).norm()
        assert moved > 0.1
        assert (value - p[name]).norm() < 1e-3 * moved, name
    assert not found.b_dec.any()
    assert found.provenance["folded_scale"] == 1
    x = planted(20, D, 40, 3)[0]
    torch.testing.assert_close(found.encode(x), (x @ found.W_enc + found.b_enc).relu())


def test_mean_reduction_is_the_sum_with_another_coefficient(tmp_path: Path) -> None:
    """Scaled or not, λ = α · (d / n) · s."""
    x, _ = planted(3000, D, 40, 3)
    write_store(tmp_path / "run" / "activations", {HOOK: x})
    scale = D**0.5 / winnow.ActivationStore(tmp_path / "run" / "activations").statistics(HOOK).mean_norm
    mean = {**PUBLISHED, "b_dec": "mean"}
    summed = {**mean, "l1_coefficient": ALPHA * D / N * scale, "l1_reduction": "sum"}
    gated = [{**grid, "architecture": "gated"} for grid in (mean, summed)]
    train(load(write_run(tmp_path, [mean, summed, *gated])))
    for architecture in ("relu", "gated"):
        one, other = (d.W_enc for d in winnow.load_dictionaries(tmp_path / "run") if d.architecture == architecture)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert len(weights(tmp_path / "run")) == 4


def test_no_bias_stays_none_in_every_architecture(tmp_path: Path) -> None:
    grids: list[dict[str, Any]] = [
        {"architecture": "topk", "n_latents": N, "k": 3, "b_dec": "none", "initialisation": "samples"},
        {"architecture": "topk", "n_latents": N, "k": 3},  # of another stack
        {"architecture": "relu", "n_latents": N, "l1_coefficient": 0.5, "tied": True, "b_dec": "none"},
        {"architecture": "gated", "n_latents": N, "l1_coefficient": 0.5, "b_dec": "none", "resample_rows": 500},
    ]
    train(load(write_run(tmp_path, grids)))
    biased = {d.path.name: bool(d.b_dec.any()) for d in winnow.load_dictionaries(tmp_path / "run") if d.path}
    assert biased == {
        "topk-48-k3-samples-no_b_dec-seed0": False,
        "topk-48-k3-seed0": True,
        "relu-tied-48-l1_0.5-no_b_dec-seed0": False,
        "gated-48-l1_0.5-resample500-no_b_dec-seed0": False,
    }


def test_changed_scaling_is_refused_and_recorded(tmp_path: Path) -> None:
    path = write_run(tmp_path, [PUBLISHED], rows=1000)
    train(load(path))
    record = json.loads((tmp_path / "run" / "dictionaries" / HOOK / NAME / "training.json").read_text())
    assert (record["settings"]["l1_coefficient"], record["settings"]["l1_reduction"]) == (ALPHA, "mean")
    with pytest.raises(UserError, match="scale_activations"):
        train(load(path, "--train.scale_activations", "false"))


def test_reduction_of_no_penalty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="l1_reduction has no meaning for topk"):
        load(write_run(tmp_path, [{"architecture": "topk", "n_latents": N, "k": 3, "l1_reduction": "mean"}]))
