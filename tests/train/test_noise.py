"""Denoising autoencoders see noise, reconstruct the clean row, and find features without a penalty."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import winnow
from tests.stores import write_store
from tests.train.experiments import HOOK, load, write_run
from tests.train.test_stack import ROWS, STEPS, D, N, batches, learner, tensors
from train.architectures import StepContext, architecture_of, base
from train.learner import Learner
from train.normal import NOISE, NormalRows
from train.plan import plan_dictionaries
from train.stack import Stack, stack_learners
from train.stage import train
from winnow.config.toy import ToySettings
from winnow.errors import UserError
from winnow.toy.data import ToyData

LEVELS = (0.25, 0.5, 1.0)
GRID: dict[str, Any] = {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0, "noise": [0.5, 1.0]}


def learners() -> list[Learner]:
    own = {"architecture": "relu", "l1_coefficient": 0.0}
    return [learner(seed, {**own, "noise": level}) for seed, level in enumerate(LEVELS)]


def noise() -> list[Tensor]:
    return list(NormalRows(D, 0, NOISE, torch.device("cpu")).read(0, ROWS * STEPS).split(ROWS))


@pytest.mark.parametrize("below", [0.0, 1.1], ids=["dense", "sparse"])
def test_step_on_noisy_rows_equals_autograd(below: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SPARSE_BELOW", below)
    three, x = learners(), batches()[0].double()
    architecture = architecture_of(*(each.objective for each in three))
    p = {name: torch.stack([each.parameters[name] for each in three]).double() for name in three[0].parameters}
    seen = x + torch.tensor(LEVELS).double().view(-1, 1, 1) * noise()[0].double()
    step = architecture.step(p, x, StepContext(1.0, torch.zeros(3, N, dtype=torch.bool), seen=seen))
    leaves = {name: value.clone().requires_grad_() for name, value in p.items()}
    centred = seen - leaves["b_dec"].unsqueeze(1)
    f = (centred @ leaves["W_enc"].mT + leaves["b_enc"].unsqueeze(1)).relu()
    losses = (f @ leaves["W_dec"] + leaves["b_dec"].unsqueeze(1) - x).square().sum(2).mean(1)  # the target is clean
    losses.sum().backward()
    torch.testing.assert_close(step.loss, losses.detach(), rtol=1e-9, atol=0)
    for name, leaf in leaves.items():
        torch.testing.assert_close(step.gradients[name], leaf.grad, rtol=1e-9, atol=1e-12)


def test_stacked_noise_levels_equal_each_alone() -> None:
    together, alone = learners(), learners()
    stacks = [Stack(together), *(Stack([each]) for each in alone)]
    for x, z in zip(batches(), noise(), strict=True):
        for stack in stacks:
            stack.train_on(x, x.square().sum(), z)
    for one, other in zip(together, alone, strict=True):
        for name, tensor in tensors(other).items():
            torch.testing.assert_close(tensors(one)[name], tensor, rtol=1e-5, atol=1e-5)


def test_noisy_and_clean_learners_are_not_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    clean = learner(9, {"architecture": "relu", "l1_coefficient": 0.5})
    assert sorted(len(stack.learners) for stack in stack_learners([*learners(), clean])) == [1, 3]


def test_levels_are_named_and_wrong_combinations_refused(tmp_path: Path) -> None:
    config = load(write_run(tmp_path, [GRID]))
    planned = plan_dictionaries(config, {"hooks": {HOOK: 16}}, tmp_path)
    assert [p.name for p in planned] == ["relu-48-noise0.5-seed0", "relu-48-noise1-seed0"]
    for wrong, why in (
        ({"noise": 0.5, "l1_coefficient": 1.0}, "noise takes the place of the penalty: give l1_coefficient = 0"),
        ({"noise": 0.5, "l1_reduction": "mean"}, "and no l1_reduction"),
        ({"noise": 0.0}, "greater than 0"),
        ({"noise": [0.5, 0.5]}, "each once"),
        ({"architecture": "gated", "noise": 0.5}, "noise has no meaning for gated"),
    ):
        with pytest.raises(UserError, match=why):
            load(write_run(tmp_path, [GRID | wrong]))
    with pytest.raises(UserError, match="l1_coefficient = 0 leaves nothing that makes latents sparse"):
        load(write_run(tmp_path, [{name: value for name, value in GRID.items() if name != "noise"}]))


@pytest.mark.slow
def test_noise_finds_true_features_without_a_penalty_and_shrinks_more(tmp_path: Path) -> None:
    """In its biases the penalty's work is done: too little noise finds none, enough of it most of what L1 finds."""
    toy = ToyData(ToySettings(d_model=32, n_features=64, active=3.0))
    write_store(tmp_path / "run" / "activations", {HOOK: toy.rows(0, 50_000).activations}, rows_per_shard=32_768)
    shared = {"architecture": "relu", "n_latents": 64, "learning_rate": 3e-2}
    grids = [{**shared, "l1_coefficient": 1.0}, {**shared, "l1_coefficient": 0, "noise": [0.1, 1.0]}]
    train(load(write_run(tmp_path, grids, rows=200_000, batch_rows=512, checkpoint_rows=10**6)))
    x = toy.rows(60_000, 64_000).activations
    found, l0, fvu = {}, {}, {}
    for d in winnow.load_dictionaries(tmp_path / "run"):
        noise = d.provenance["settings"].get("noise")
        f = d.encode(x)
        found[noise] = float(((toy.directions @ d.W_dec.T).amax(1) > 0.9).float().mean())
        l0[noise] = float((f > 0).sum(1).float().mean())
        fvu[noise] = float((d.decode(f) - x).square().sum() / (x - x.mean(0)).square().sum())
    assert found[None] > 0.9
    assert found[1.0] > 0.8
    assert found[0.1] < 0.1
    assert l0[1.0] < 8 < 40 < l0[0.1]
    assert fvu[0.1] < fvu[None] < fvu[1.0] < 0.3
