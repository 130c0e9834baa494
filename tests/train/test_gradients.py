"""Losses and gradients against autograd on each paper's formula, in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from jaxtyping import Bool
from torch import Tensor

from train.architectures import Architecture, Parameters, Step, StepContext, architecture_of, base
from train.architectures.auxk import k_aux
from train.architectures.matryoshka import Matryoshka
from train.architectures.registry import SPARSITY
from train.kernels import sparse
from train.settings import DictionarySettings

B, D, N, K = 40, 12, 96, 5
WARM = 0.5
WIDTH = 0.8  # of the jumprelu kernel: wide enough that many entries fall into it


class Case(NamedTuple):
    """A learner of a stack: what it is to compute, and on which parameters."""

    settings: dict[str, Any]
    parameters: Parameters
    dead: Bool[Tensor, " n"]

    @classmethod
    def of(cls, settings: dict[str, Any], more: tuple[str, ...], number: int) -> "Case":
        """Make the learner of that number, each of another sparsity."""
        sparsity = next(name for name in SPARSITY if name in settings)
        own = settings | {sparsity: settings[sparsity] * (1 + number)}
        generator = torch.Generator().manual_seed(1 + number)
        shapes = {"W_enc": (N, D), "b_enc": (N,), "W_dec": (N, D), "b_dec": (D,)} | dict.fromkeys(more, (N,))
        p = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        if "threshold" in p:
            p["threshold"].abs_()
        return cls(own, p, torch.arange(N) % 3 == number)

    def given(self, architecture: Architecture) -> Parameters:
        """Copy the parameters, with those that the architecture adds."""
        own = {name: value.clone() for name, value in self.parameters.items()}
        architecture.add_parameters(own)
        return {name: self.parameters.get(name, value).clone() for name, value in own.items()}


def settings_of(own: dict[str, Any]) -> DictionarySettings:
    return DictionarySettings(n_latents=N, **own)


Naive = Callable[[Case, Parameters, Tensor], tuple[Tensor, Tensor]]


def rows() -> Tensor:
    return torch.randn(B, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def pre_of(p: Parameters, x: Tensor) -> Tensor:
    return (x - p["b_dec"]) @ p["W_enc"].T + p["b_enc"]


def error_of(p: Parameters, x: Tensor, f: Tensor) -> Tensor:
    return x - (f @ p["W_dec"] + p["b_dec"])


def naive_relu(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Bricken et al. 2023: squared error and the sum of the latents, averaged over rows."""
    f = pre_of(p, x).relu()
    return (error_of(p, x, f).square().sum(1) + WARM * case.settings["l1_coefficient"] * f.sum(1)).mean(), f


def naive_tied(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Cunningham et al. 2023: the same with one matrix for both."""
    return naive_relu(case, {**p, "W_enc": p["W_dec"]}, x)


def naive_topk(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gao et al. 2024, equations 4 and 5."""
    pre = pre_of(p, x).relu()
    f = torch.zeros_like(pre).scatter(1, pre.topk(case.settings["k"], dim=1).indices, 1) * pre
    return error_of(p, x, f).square().sum(1).mean(), f


def naive_auxk(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gao et al. 2024, appendix A.2: the dead reconstruct the fixed error of the living."""
    loss, f = naive_topk(case, p, x)
    e = error_of(p, x, f).detach()
    pre = pre_of(p, x).relu() * case.dead
    z = torch.zeros_like(pre).scatter(1, pre.topk(k_aux(D), dim=1).indices, 1) * pre
    return loss + (e - z @ p["W_dec"]).square().sum(1).mean() / 32, f


def naive_batchtopk(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Bussmann et al. 2024: the B·k largest of the batch."""
    pre = pre_of(p, x).relu()
    f = (torch.zeros(B * N).double().scatter(0, pre.flatten().topk(B * case.settings["k"]).indices, 1)).view(B, N) * pre
    return error_of(p, x, f).square().sum(1).mean(), f


def naive_matryoshka(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Bussmann et al. 2025: the error of every prefix, added up."""
    _, f = naive_batchtopk(case, p, x)
    prefixes = (6, 12, 24, 48, 96)
    return torch.stack([error_of(p, x, f * (torch.arange(N) < m)).square().sum(1).mean() for m in prefixes]).sum(), f


class Jump(torch.autograd.Function):
    """z · 1[z > θ] and 1[z > θ] with the pseudo-derivatives of Rajamanoharan et al. 2024, equations 11 and 12."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, theta)
        passes = (z > theta).to(z.dtype)
        return z * passes, passes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        z, theta = ctx.saved_tensors
        kernel = ((z - theta).abs() / WIDTH < 0.5).to(z.dtype) / WIDTH
        return gradients[0] * (z > theta), (-theta * kernel * gradients[0] - kernel * gradients[1]).sum(0)


def naive_jumprelu(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rajamanoharan et al. 2024, equation 9."""
    f, passes = Jump.apply(pre_of(p, x), p["threshold"])  # pyright: ignore[reportGeneralTypeIssues]
    return (error_of(p, x, f).square().sum(1) + WARM * case.settings["l0_coefficient"] * passes.sum(1)).mean(), f


def naive_gated(case: Case, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rajamanoharan et al. 2024 (gated), equations 6 to 8."""
    pi = pre_of(p, x)
    magnitude = ((x - p["b_dec"]) @ p["W_enc"].T) * p["r_mag"].exp() + p["b_mag"]
    f = (pi > 0) * magnitude.relu()
    fixed = {name: value.detach() for name, value in p.items()}
    via_gate = error_of(fixed, x, pi.relu())
    penalty = WARM * case.settings["l1_coefficient"] * pi.relu().sum(1)
    return (error_of(p, x, f).square().sum(1) + penalty + via_gate.square().sum(1)).mean(), f


CASES: dict[str, tuple[dict[str, Any], Naive, tuple[str, ...]]] = {
    "relu": ({"architecture": "relu", "l1_coefficient": 0.7}, naive_relu, ()),
    "tied": ({"architecture": "relu", "l1_coefficient": 0.7, "tied": True}, naive_tied, ()),
    "topk": ({"architecture": "topk", "k": K}, naive_topk, ()),
    "auxk": ({"architecture": "topk", "k": K, "auxk_coefficient": 1 / 32}, naive_auxk, ()),
    "batchtopk": ({"architecture": "batchtopk", "k": K}, naive_batchtopk, ()),
    "matryoshka": ({"architecture": "matryoshka", "k": K}, naive_matryoshka, ()),
    "jumprelu": (
        {"architecture": "jumprelu", "l0_coefficient": 0.7, "bandwidth": WIDTH},
        naive_jumprelu,
        ("threshold",),
    ),
    "gated": ({"architecture": "gated", "l1_coefficient": 0.7}, naive_gated, ("r_mag", "b_mag")),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_step_equals_autograd(case: str, dtype: torch.dtype, tolerance: float) -> None:
    check(case, dtype, tolerance)


@pytest.mark.parametrize("case", ["relu", "tied", "jumprelu", "gated"])
@pytest.mark.parametrize("below", [0.0, 1.1], ids=["dense", "sparse"])
def test_step_is_the_same_dense_and_sparse(case: str, below: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SPARSE_BELOW", below)
    check(case, torch.float64, 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_step_of_a_gpu_equals_autograd(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fixed shapes, whatever the values are; computed on the CPU."""
    monkeypatch.setattr(sparse, "asynchronous", lambda tensor: True)
    check(case, torch.float64, 1e-9)


def check(case: str, dtype: torch.dtype, tolerance: float, device: str = "cpu") -> None:
    """Compare a stack of three learners, each of its own parameters, sparsity and dead, with autograd on each."""
    own_settings, naive, more = CASES[case]
    learners = [Case.of(own_settings, more, number) for number in range(3)]
    architecture = architecture_of(*(settings_of(learner.settings) for learner in learners))
    stacked = {
        name: torch.stack([learner.given(architecture)[name] for learner in learners]).to(device, dtype)
        for name in learners[0].given(architecture)
    }
    context = StepContext(WARM, torch.stack([learner.dead for learner in learners]).to(device))
    step = architecture.step(stacked, rows().to(device, dtype), context).summed()
    step = step._replace(gradients={name: value.cpu() for name, value in step.gradients.items()})
    step = step._replace(loss=step.loss.cpu(), squared_error=step.squared_error.cpu(), gradient=step.gradient.cpu())
    step = step._replace(active=step.active.cpu(), fired=step.fired.cpu())
    for number, learner in enumerate(learners):
        leaves = {name: value.clone().requires_grad_() for name, value in learner.parameters.items()}
        loss, f = naive(learner, leaves, rows())
        loss.backward()
        expected = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
        compare(step, number, loss.detach(), f.detach(), expected, tolerance)
        error = error_of(learner.parameters, rows(), f.detach())
        torch.testing.assert_close(step.squared_error[number].double(), error.square().sum(), rtol=tolerance, atol=0)
        torch.testing.assert_close(step.gradient[number].double(), error * (-2 / B), rtol=tolerance, atol=tolerance)


def compare(step: Step, number: int, loss: Tensor, f: Tensor, gradients: Parameters, tolerance: float) -> None:
    def close(actual: Tensor, expected: Tensor, what: str) -> None:
        largest = float(expected.abs().max())
        torch.testing.assert_close(
            actual.double(), expected, rtol=tolerance, atol=tolerance * largest, msg=lambda text: f"{what}: {text}"
        )

    close(step.loss[number], loss, "loss")
    assert set(step.gradients) == set(gradients)
    for name, gradient in gradients.items():
        close(step.gradients[name][number], gradient, name)
    assert step.active[number] == (f > 0).sum()
    assert torch.equal(step.fired[number], (f > 0).any(0))


def test_threshold_of_batchtopk_follows_the_smallest_kept_value() -> None:
    learners = [Case.of({"architecture": "batchtopk", "k": K}, (), number) for number in range(2)]
    architecture = architecture_of(*(settings_of(learner.settings) for learner in learners))
    p = {name: torch.stack([m.given(architecture)[name] for m in learners]) for name in learners[0].given(architecture)}
    smallest = []
    for seed in range(3):
        x = torch.randn(B, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        f = [naive_batchtopk(learner, learner.parameters, x)[1] for learner in learners]
        smallest.append(torch.stack([each[each > 0].min() for each in f]))
        architecture.step(p, x, StepContext(1.0, torch.stack([learner.dead for learner in learners])))
    torch.testing.assert_close(p["threshold"], torch.stack(smallest).mean(0))


def test_prefixes_of_matryoshka_halve() -> None:
    assert Matryoshka(k=(1,)).prefixes(1024) == [64, 128, 256, 512, 1024]


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_step_is_close_to_the_exact_one(case: str) -> None:
    """Rounded to 8 bits, the pre-activations of near ties change places: the gradients as a whole stay close."""
    settings, _, more = CASES[case]
    learners = [Case.of(settings, more, number) for number in range(2)]
    exact, lowered = (
        architecture_of(*(settings_of(m.settings | {"compute_dtype": dtype}) for m in learners))
        for dtype in ("float32", "bfloat16")
    )
    p = {name: torch.stack([m.given(exact)[name] for m in learners]).float() for name in learners[0].given(exact)}
    context = StepContext(WARM, torch.stack([m.dead for m in learners]))
    expected = exact.step({name: value.clone() for name, value in p.items()}, rows().float(), context)
    step = lowered.step(p, rows().float(), context)
    torch.testing.assert_close(step.loss, expected.loss, rtol=0.02, atol=0)
    torch.testing.assert_close(step.active.float(), expected.active.float(), rtol=0.02, atol=0)
    for name, gradient in expected.gradients.items():
        assert step.gradients[name].dtype == torch.float32
        assert (step.gradients[name] - gradient).norm() < 0.1 * gradient.norm(), name


def test_bfloat16_products_are_those_of_bfloat16() -> None:
    architecture = architecture_of(settings_of({"architecture": "topk", "k": K, "compute_dtype": "bfloat16"}))
    p = {name: value.unsqueeze(0).float() for name, value in Case.of({"k": K}, (), 0).parameters.items()}
    assert architecture.encode(p, rows().float())[1].dtype == torch.bfloat16
