"""Triton's kernels against torch: compiled where there is a GPU, by Triton's interpreter on a CPU.

Skipped where Triton is not installed. It is a gigabyte, and builds of torch for a GPU bring it along: `make kernels`
installs it in a place of its own and runs these.
"""

import os
import re
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed; run make kernels")

from tests.experiments import ROOT
from tests.train.test_gradients import check
from tests.train.test_stack import GRIDS, ROWS, D, learner
from train.kernels import batch_selection, dense, dispatch, rows, selection, sparse
from train.kernels.reconstruction import reconstruct
from train.kernels.sparse import Active
from train.stack import Stack

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "k"), [(37, 1), (37, 37), (64, 5), (300, 3), (1000, 7), (2100, 33)])
def test_top_k_is_that_of_torch(n: int, k: int, dtype: torch.dtype) -> None:
    pre = drawn(5, n).to(dtype)
    values, latents = selection.top_k(pre, k)
    assert torch.equal(values.sort(1).values, pre.float().relu().topk(k).values.sort(1).values)
    assert torch.equal(pre.float().relu().gather(1, latents), values)
    assert (latents.diff(dim=1) > 0).all()


def test_rows_are_looked_at_twice_where_that_pays() -> None:
    sizes = [selection.group_size(n, k) for n, k in ((24_576, 32), (24_576, 64), (131_072, 32), (24_576, 384))]
    assert sizes == [32, 16, 32, 8]
    assert selection.group_size(10**6, 32) == 128
    assert [selection.group_size(n, k) for n, k in ((64, 5), (6144, 2000), (10**7, 32))] == [0, 0, 0]


def test_top_k_of_ties_zeros_and_no_numbers() -> None:
    pre = torch.zeros(4, 500, device=DEVICE)
    assert selection.group_size(500, 3) > 0
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "count"), [(3000, 150), (3001, 9), (64, 1)])
def test_largest_of_a_batch_are_those_of_torch(n: int, count: int, dtype: torch.dtype) -> None:
    pre = drawn(10, n).to(dtype)
    pre[3] += 1  # rows keep unequal numbers
    assert batch_selection.serves(10, n, count)
    places = batch_selection.largest(pre, count)
    found = pre.flatten()[places].float().relu()
    assert torch.equal(found.sort().values, pre.float().relu().flatten().topk(count).values.sort().values)
    assert (places.diff() > 0).all()


def test_largest_of_a_batch_with_ties_zeros_and_no_numbers() -> None:
    pre = torch.zeros(4, 640, device=DEVICE) - 1
    assert batch_selection.largest(pre, 5).unique().numel() == 5  # none above zero
    pre[2, ::2] = 3.0
    assert batch_selection.largest(pre, 5).tolist() == [2 * 640 + i for i in (0, 2, 4, 6, 8)]
    pre[1, 600] = torch.nan
    pre[3, 601] = torch.inf
    assert batch_selection.largest(pre, 3).tolist() == [640 + 600, 2 * 640, 3 * 640 + 601]


@pytest.mark.parametrize("lowest", [0, 16])
def test_bound_of_the_largest(lowest: int) -> None:
    bits = (drawn(5000) * 2**20).int().abs() << lowest // 2 >> lowest << lowest
    bits[::7] = -1  # counts for nothing
    for count in (1, 40, 3000):
        kth, left = batch_selection.bound_of(bits, count, lowest)
        expected = bits.sort(descending=True).values[count - 1]
        assert kth == expected
        assert left == count - (bits > expected).sum()


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


def test_long_lists_are_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PIECE", 8)
    f = (drawn(60, 23) - 1).relu()
    f[:, 6], f[:, 7], f[:, 8] = 1.0, 0.0, 0.0  # in every row, in none, and as long as pieces are
    f[:16, 8] = 2.0
    x = drawn(60, 5)
    groups = sparse.by_latent(active := sparse.where(f > 0, f), 23)
    assert groups.offsets.diff()[6:9].tolist() == [60, 0, 16]
    summed = rows.weighted_sums(groups.offsets, groups.rows, active.values[groups.order], x, cut=True)
    torch.testing.assert_close(summed, f.T @ x, rtol=1e-5, atol=1e-5)


def test_entries_of_weight_zero_are_not_read() -> None:
    table = torch.full((2, 4), torch.nan, device=DEVICE)
    table[1] = 1.0
    offsets, index = (torch.tensor(x, device=DEVICE) for x in ([0, 2], [0, 1]))
    assert rows.weighted_sums(offsets, index, torch.tensor([0.0, 2.0], device=DEVICE), table).tolist() == [[2.0] * 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_reconstruction_is_that_of_torch(dtype: torch.dtype) -> None:
    learners, b, n, d = 2, 9, 23, 45
    f = (drawn(learners, b, n) - 0.5).relu()
    active = sparse.where_learners(f > 0, f)
    W_dec, b_dec, x = drawn(learners, n, d, seed=1).to(dtype), drawn(learners, d, seed=2), drawn(b, d, seed=3)
    found = reconstruct(*active, W_dec.flatten(0, 1), b_dec, x)
    error = f @ W_dec.float() + b_dec.unsqueeze(1) - x
    gradient = error * 2 / b
    of_f = gradient @ W_dec.float().mT
    torch.testing.assert_close(found.squared_error.view(learners, b), error.square().sum(2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.gradient.view_as(gradient), gradient, rtol=1e-5, atol=1e-5)
    assert found.lowered.dtype == dtype
    torch.testing.assert_close(found.lowered.float(), found.gradient, rtol=2**-7, atol=0)
    torch.testing.assert_close(found.gradient_of_values, of_f[f > 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("jumps", [False, True])
def test_dense_passes_are_those_of_torch(jumps: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "ROWS", 32)
    pre, g = drawn(2, 70, 150).to(dtype), drawn(2, 70, 150, seed=1).to(dtype)
    theta, slope, width = drawn(2, 150, seed=2).abs() if jumps else None, drawn(2, seed=3), 0.5
    bound = 0.0 if theta is None else theta.unsqueeze(1)
    f = torch.where(pre > bound, pre, 0)
    found = dense.passed(pre.clone(), theta)
    assert torch.equal(found.f, f)
    torch.testing.assert_close(found.magnitude, f.float().sum(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(found.passing, (f > 0).sum(1, dtype=torch.int32))
    expected = torch.where(f > 0, g.float() + (0 if jumps else slope.view(2, 1, 1)), 0).to(dtype)
    taken = g.clone()
    through = dense.through(taken, pre if jumps else f, slope, theta, width)
    # Triton's interpreter rounds bfloat16 towards zero, a GPU to the nearest
    torch.testing.assert_close(taken, expected, rtol=2**-7 if dtype == torch.bfloat16 else 0, atol=0)
    torch.testing.assert_close(through.b_enc, taken.float().sum(1), rtol=1e-5, atol=1e-5)
    if theta is not None:
        near = (pre.float() - theta.unsqueeze(1)).abs() < width / 2
        pushed = near * (theta.unsqueeze(1) * g.float() + slope.view(2, 1, 1)) / width
        torch.testing.assert_close(through.threshold, -pushed.sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["topk", "batchtopk", "matryoshka"])
def test_training_by_kernels_is_that_of_torch(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several steps of a stack whose learners have different rates, with dead latents and long lists."""
    ends = []
    for kernels in (False, True):
        monkeypatch.setattr(sparse, "asynchronous", lambda tensor, kernels=kernels: kernels)
        monkeypatch.setattr(dispatch, "available", lambda tensor, kernels=kernels: kernels)
        monkeypatch.setattr(rows, "PIECE", 4)
        own = zip(GRIDS[case], (3e-3, 3e-3, 1e-2), strict=True)
        given = [{"architecture": case, **settings, "learning_rate": rate} for settings, rate in own]
        stack = Stack([learner(seed, settings, device=DEVICE) for seed, settings in enumerate(given)])
        stack.silent_rows[0, ::3] = 10**9  # dead
        for step in range(3):
            x = drawn(ROWS, D, seed=step)
            stack.train_on(x, x.square().sum())
        ends.append({name: value.cpu().clone() for one in stack.learners for name, value in one.state()[0].items()})
    for name, expected in ends[0].items():
        torch.testing.assert_close(
            ends[1][name], expected, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_entries_of_no_row_have_no_product() -> None:
    active = Active(*(torch.tensor(x, device=DEVICE) for x in ([0, 1, 1], [2, 0, 0], [1.0, 1.0, 1.0])))
    ones = torch.ones(3, 4, device=DEVICE)
    dots = rows.products(active.offsets, active.latents, ones[:2], ones)
    assert dots.tolist() == [4.0, 0.0, 0.0]


@pytest.mark.parametrize("case", ["auxk", "batchtopk", "matryoshka", "relu", "jumprelu"])
def test_step_by_kernels_equals_autograd(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "asynchronous", lambda tensor: True)
    monkeypatch.setattr(dispatch, "available", lambda tensor: True)
    check(case, torch.float32, 1e-4, DEVICE.type)


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
    source = "".join(path.read_text() for path in (ROOT / "train" / "kernels").glob("*.py"))
    launched = re.findall(r"^ +(_\w+)\[(?:\(|grid)", source, re.MULTILINE)
    assert set(done.stdout.split()) == set(launched)
