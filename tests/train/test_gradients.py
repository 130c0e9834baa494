"""Losses and gradients against autograd on the formula, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from train.architectures import Architecture, Parameters, Relu, TopK
from train.architectures.step import Step, dense_step, sparse_step
from train.sparse import active_nonzero

B, D, N, K = 40, 12, 96, 5


def parameters(dtype: torch.dtype = torch.float64) -> Parameters:
    generator = torch.Generator().manual_seed(1)
    shapes = {"W_enc": (N, D), "b_enc": (N,), "W_dec": (N, D), "b_dec": (D,)}
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def rows(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(B, D, generator=torch.Generator().manual_seed(2)).to(dtype)


def naive_relu(p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Bricken et al. 2023: squared error and the sum of the latents, averaged over rows."""
    f = torch.relu((x - p["b_dec"]) @ p["W_enc"].T + p["b_enc"])
    error = x - (f @ p["W_dec"] + p["b_dec"])
    return (error.square().sum(1) + 0.7 * 0.5 * f.sum(1)).mean(), f


def naive_topk(p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gao et al. 2024: squared error of what the k largest latents reconstruct."""
    pre = torch.relu((x - p["b_dec"]) @ p["W_enc"].T + p["b_enc"])
    f = torch.zeros_like(pre).scatter(1, pre.topk(K, dim=1).indices, 1) * pre
    error = x - (f @ p["W_dec"] + p["b_dec"])
    return error.square().sum(1).mean(), f


def naive_gradients(
    loss_of: Callable[[Parameters, Tensor], tuple[Tensor, Tensor]], p: Parameters, x: Tensor
) -> tuple[Tensor, Tensor, Parameters]:
    leaves = {name: value.clone().requires_grad_() for name, value in p.items()}
    loss, f = loss_of(leaves, x)
    loss.backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return loss.detach(), f.detach(), gradients


CASES = [(Relu(l1_coefficient=0.7), naive_relu), (TopK(k=K), naive_topk)]


@pytest.mark.parametrize(("architecture", "naive"), CASES, ids=["relu", "topk"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_step_equals_autograd(
    architecture: Architecture,
    naive: Callable[[Parameters, Tensor], tuple[Tensor, Tensor]],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    loss, f, gradients = naive_gradients(naive, parameters(), rows())
    step = architecture.step(parameters(dtype), rows(dtype), warm=0.5)
    compare(step, loss, f, gradients, tolerance)


def test_sparse_and_dense_step_agree() -> None:
    p, x = parameters(), rows()
    loss, f, gradients = naive_gradients(naive_relu, p, x)
    compare(sparse_step(p, x, active_nonzero(f), 0.35), loss, f, gradients, 1e-9)
    compare(dense_step(p, x, f, 0.35), loss, f, gradients, 1e-9)


def compare(step: Step, loss: Tensor, f: Tensor, gradients: Parameters, tolerance: float) -> None:
    def close(actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(
            actual.double(), expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())
        )

    close(step.loss, loss)
    assert set(step.gradients) == set(gradients)
    for name, gradient in gradients.items():
        close(step.gradients[name], gradient)
    assert step.active == (f > 0).sum()
    assert torch.equal(step.fired, (f > 0).any(0))
