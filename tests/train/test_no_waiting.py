"""A step on a GPU never makes the host wait for the device.

Checked on torch's "meta" device, whose tensors have shapes and no data: whatever depends on values raises.
"""

import pytest
import torch

from tests.train.test_stack import GRIDS, ROWS, D, N, learner
from train import stack as stack_module
from train.kernels import sparse
from train.stack import Stack, stack_learners

META = torch.device("meta")


def stack_of(case: str, dtype: str) -> Stack:
    return Stack(
        [
            learner(seed, {"architecture": case, "compute_dtype": dtype, **own, "learning_rate": rate}, device=META)
            for seed, (own, rate) in enumerate(zip(GRIDS[case], (3e-3, 1e-2, 3e-3), strict=True))
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", GRIDS)
def test_step_on_a_gpu_never_waits(case: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stack_of(case, dtype)
    # the host waits for these only until the step before is done
    monkeypatch.setattr(sparse.HostCopy, "read", lambda copy: [[3, 0, 2]] * 2)
    x, variance = torch.empty(ROWS, D, device=META), torch.empty((), device=META)
    stack.train_on(x, variance)  # constants move to the device once

    def copy(*arguments: object, **named: object) -> None:
        raise AssertionError("a tensor is made from numbers of the host: the host waits for the copy")

    monkeypatch.setattr(torch, "tensor", copy)
    stack.train_on(x, variance)
    assert stack.learners[0].steps == 2


def test_what_waits_would_be_noticed() -> None:
    x = torch.empty(ROWS, D, device=META)
    for waits in (
        lambda: float(x.sum()),
        lambda: bool((x > 0).any()),
        lambda: x.nonzero(),
        lambda: x[x > 0],
        lambda: x.cpu(),
        lambda: x + torch.ones(D),
        lambda: sparse.where(x > 0, x),
        lambda: torch.bincount((x > 0).flatten().int()),
    ):
        with pytest.raises(RuntimeError):
            waits()


def test_small_dictionaries_on_a_gpu_are_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    learners = stack_of("topk", "float32").learners
    assert [len(stack.learners) for stack in stack_learners(learners)] == [3]
    monkeypatch.setattr(stack_module, "LAUNCHED_LATENTS", 2 * ROWS * N)
    assert sorted(len(stack.learners) for stack in stack_learners(learners)) == [1, 2]
