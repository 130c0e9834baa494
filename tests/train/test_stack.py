"""Dictionaries that take their steps together are what each would be alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stores import planted
from train import stack as stack_module
from train.learner import Learner
from train.plan import Planned
from train.settings import DictionarySettings
from train.stack import Stack, stack_learners
from train.start.initialise import first_directions, initial_parameters

CPU = torch.device("cpu")
D, N, ROWS, STEPS = 16, 48, 64, 12
SHARED = {"rows": ROWS * STEPS, "batch_rows": ROWS, "warmup": 0.25, "decay": 0.25, "learning_rate": 3e-3}
RULE = {"slope_bound": 0.05, "similarity_bound": 0.95}
GRIDS: dict[str, list[dict[str, Any]]] = {
    "relu": [{"l1_coefficient": c} for c in (0.1, 0.5, 2.0)],
    "tied": [{"architecture": "relu", "tied": True, "l1_coefficient": c} for c in (0.1, 0.5, 2.0)],
    "topk": [{"k": k, "auxk_coefficient": 1 / 32} for k in (3, 3, 7)],
    "batchtopk": [{"k": k, "auxk_coefficient": 1 / 32} for k in (3, 5, 3)],
    "jumprelu": [{"l0_coefficient": c, "bandwidth": 0.1} for c in (0.1, 0.5, 2.0)],
    "gated": [{"l1_coefficient": c} for c in (0.1, 0.5, 2.0)],
    "matryoshka": [{"k": k, "auxk_coefficient": 1 / 32} for k in (3, 5, 3)],
}


def learners_of(case: str) -> list[Learner]:
    """Make three dictionaries of one shape that differ in sparsity, seed, learning rate and clipping."""
    return [
        learner(seed, {"architecture": case, **own, "learning_rate": rate, "gradient_norm": norm})
        for seed, (own, rate, norm) in enumerate(zip(GRIDS[case], (3e-3, 1e-2, 3e-3), (0.0, 1.0, 30.0), strict=True))
    ]


def learner(seed: int, own: dict[str, Any], n: int = N, device: torch.device = CPU) -> Learner:
    directions = first_directions("random", n, D, seed, lambda: torch.empty(0, D))
    settings = {**SHARED, **RULE, "n_latents": n, "seed": seed, **own}
    planned = Planned("hook", Path(f"{seed}"), DictionarySettings(**settings))
    return Learner(planned, initial_parameters(directions, torch.full((D,), 0.1)), device, 1)


def batches() -> list[torch.Tensor]:
    x, _ = planted(ROWS * STEPS, D, 40, 3)
    return list(x.split(ROWS))


def train(stacks: list[Stack], x: list[torch.Tensor]) -> None:
    for batch in x:
        for stack in stacks:
            stack.train_on(batch, batch.square().sum())


def tensors(learner: Learner) -> dict[str, torch.Tensor]:
    return learner.state()[0]


@pytest.mark.parametrize("case", GRIDS)
def test_learner_of_a_stack_equals_the_dictionary_alone(case: str) -> None:
    together, alone = learners_of(case), learners_of(case)
    for each in (*together, *alone):
        each.silent_rows[::5] = 10**6  # dead, and to be revived by AuxK
    train([Stack(together)], batches())
    train([Stack([each]) for each in alone], batches())
    for one, other in zip(together, alone, strict=True):
        assert (one.rows, one.steps) == (other.rows, other.steps) == (ROWS * STEPS, STEPS)
        for name, tensor in tensors(other).items():
            torch.testing.assert_close(tensors(one)[name], tensor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", GRIDS)
def test_learner_that_is_no_number_leaves_the_others_as_they_are(case: str) -> None:
    sick, sound = learners_of(case), learners_of(case)
    sick[1].parameters["W_dec"][3, 2] = torch.nan
    train([Stack(sick)], batches())
    train([Stack(sound)], batches())
    assert not sick[1].sums[1].isfinite()
    for number in (0, 2):
        for name, tensor in tensors(sound[number]).items():
            torch.testing.assert_close(tensors(sick[number])[name], tensor, rtol=1e-5, atol=1e-5)


def test_stack_that_lost_a_learner_goes_on_where_it_was() -> None:
    x = batches()
    learners, alone = learners_of("topk"), learners_of("topk")
    train([Stack(learners)], x[:5])
    train([Stack(learners[1:])], x[5:])
    train([Stack([each]) for each in alone], x)
    assert learners[0].rows == 5 * ROWS
    for one, other in zip(learners[1:], alone[1:], strict=True):
        for name, tensor in tensors(other).items():
            torch.testing.assert_close(tensors(one)[name], tensor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", GRIDS)
def test_resumed_stack_takes_the_same_steps_to_the_bit(case: str) -> None:
    x = batches()
    learners, resumed = learners_of(case), learners_of(case)
    train([Stack(learners)], x[:5])
    for each, other in zip(resumed, learners, strict=True):
        state, numbers = other.state()
        each.load_state({name: tensor.clone() for name, tensor in state.items()}, numbers)
    train([Stack(learners)], x[5:])
    train([Stack(resumed)], x[5:])
    for each, other in zip(resumed, learners, strict=True):
        assert all(torch.equal(tensor, tensors(each)[name]) for name, tensor in tensors(other).items())


def test_only_equal_shapes_and_structures_are_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    learners = [
        *learners_of("topk"),
        *learners_of("tied"),
        learner(0, {"architecture": "relu", "l1_coefficient": 1.0}),
        learner(0, {"architecture": "topk", "k": 3, "auxk_coefficient": 1 / 32}, n=96),
        learner(0, {"architecture": "topk", "k": 3, "auxk_coefficient": 0.0}),
    ]
    sizes = {(s.learners[0].planned.settings.architecture, len(s.learners)) for s in stack_learners(learners)}
    assert sizes == {("topk", 3), ("topk", 1), ("relu", 3), ("relu", 1)}
    assert len(stack_learners(learners)[0].learners) == 3  # the largest first
    monkeypatch.setattr(stack_module, "CACHED_LATENTS", 2 * ROWS * N)
    assert sorted(len(s.learners) for s in stack_learners(learners[:3])) == [1, 2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [len(s.learners) for s in stack_learners(learners[:3])] == [1, 1, 1]
