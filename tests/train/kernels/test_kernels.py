"""Triton's kernels against torch: compiled where there is a GPU, by Triton's interpreter on a CPU.

Skipped where Triton is not installed. It is a gigabyte, and builds of torch for a GPU bring it along: `make kernels`
installs it in a place of its own and runs these.
"""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed; run make kernels")

from tests.experiments import ROOT
from tests.train.test_gradients import check
from train.kernels import dispatch, rows, selection, sparse
from train.kernels.sparse import Active

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "k"), [(37, 1), (37, 37), (64, 5), (300, 32), (1000, 7)])
def test_top_k_is_that_of_torch(n: int, k: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MOST", 256)  # longer rows take several looks
    pre = drawn(5, n).to(dtype)
    values, latents = selection.top_k(pre, k)
    assert torch.equal(values.sort(1).values, pre.float().relu().topk(k).values.sort(1).values)
    assert torch.equal(pre.float().relu().gather(1, latents), values)
    assert (latents.diff(dim=1) > 0).all()


def test_top_k_of_ties_zeros_and_no_numbers() -> None:
    pre = torch.zeros(4, 50, device=DEVICE)
    pre[0, 3::2] = 2.0  # equal: the first are taken
    pre[1] = -1.0  # none above zero
    pre[2, [7, 9]] = torch.tensor([5.0, torch.inf], device=DEVICE)
    pre[3, 11] = torch.nan
    values, latents = selection.top_k(pre, 3)
    assert latents[0].tolist() == [3, 5, 7]
    assert values[0].tolist() == [2.0] * 3
    assert values[1].tolist() == [0.0] * 3
    assert values[2].sort().values.tolist() == [0.0, 5.0, torch.inf]
    assert values[3].isnan().sum() == 1


@pytest.mark.parametrize("d", [1, 16, 45])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_and_products_are_those_of_torch(d: int, dtype: torch.dtype) -> None:
    n, b = 23, 9
    f = (drawn(b, n) - 0.5).relu()
    f[4] = 0  # a row in which nothing is active
    f[:, 6] = 0  # a latent that is active in no row
    active = sparse.where(f > 0, f)
    W_dec, gradient = drawn(n, d, seed=1).to(dtype), drawn(b, d, seed=2).to(dtype)
    decoded = rows.weighted_sums(active.offsets, active.latents, active.values, W_dec)
    torch.testing.assert_close(decoded, f @ W_dec.float(), rtol=1e-5, atol=1e-5)
    dots = rows.products(active.offsets, active.latents, gradient, W_dec)
    expected = (gradient.float() @ W_dec.float().T)[torch.repeat_interleave(active.offsets.diff()), active.latents]
    torch.testing.assert_close(dots, expected, rtol=1e-5, atol=1e-5)
    groups = sparse.by_latent(active, n)
    summed = rows.weighted_sums(groups.offsets, groups.rows, active.values[groups.order], gradient)
    torch.testing.assert_close(summed, f.T @ gradient.float(), rtol=1e-5, atol=1e-5)


def test_entries_of_no_row_have_no_product() -> None:
    active = Active(*(torch.tensor(x, device=DEVICE) for x in ([0, 1, 1], [2, 0, 0], [1.0, 1.0, 1.0])))
    ones = torch.ones(3, 4, device=DEVICE)
    dots = rows.products(active.offsets, active.latents, ones[:2], ones)
    assert dots.tolist() == [4.0, 0.0, 0.0]


@pytest.mark.parametrize("case", ["auxk", "batchtopk"])
def test_step_by_kernels_equals_autograd(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "asynchronous", lambda tensor: True)
    monkeypatch.setattr(dispatch, "available", lambda tensor: True)
    check(case, torch.float32, 1e-4)


def test_kernels_are_compiled_for_a_gpu() -> None:
    """In a process without the interpreter, which replaces the compiler."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.kernels.compiled"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["_top_k", "_weighted_sums", "_products"] * 2
