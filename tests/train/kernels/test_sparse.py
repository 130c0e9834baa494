import pytest
import torch

from train.kernels import sparse
from train.kernels.ranking import top_k
from train.kernels.sparse import (
    active_largest,
    active_top_k,
    by_latent,
    decode,
    keep,
    sum_by_latent,
    weight_gradient,
    where,
)


@pytest.mark.parametrize("n", [40, 37, 512, 1024])
def test_top_k_is_that_of_torch(n: int) -> None:
    pre = torch.randn(50, n, generator=torch.Generator().manual_seed(n))
    values, latents = top_k(pre, 4)
    torch.testing.assert_close(values.sort(1).values, pre.topk(4).values.sort(1).values, rtol=0, atol=0)
    assert torch.equal(pre.gather(1, latents), values)
    assert (latents.diff(dim=1) > 0).all()


def test_top_k_of_rows_that_hold_no_number_ends() -> None:
    assert top_k(torch.full((2, 512), torch.nan), 4)[1].shape == (2, 4)


@pytest.mark.parametrize("n", [64, 40_000])
def test_gathered_sums_equal_dense_products(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    f = torch.relu(torch.randn(9, n, generator=generator) - 2.5)
    f[4] = 0  # a row in which nothing is active
    W_dec, x = torch.randn(n, 5, generator=generator), torch.randn(9, 5, generator=generator)
    active = where(f > 0, f)
    torch.testing.assert_close(decode(active, W_dec), f @ W_dec, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weight_gradient(by_latent(active, n), active.values, x), f.T @ x, rtol=1e-4, atol=1e-4)


def test_latents_kept_below_zero_are_zero() -> None:
    active = active_top_k(torch.full((1, 3, 8), -1.0), [2])
    assert active.offsets.tolist() == [0, 2, 4, 6]
    assert active.values.tolist() == [0.0] * 6


@pytest.mark.parametrize(("n", "count"), [(64, 40), (4096, 3000), (4096, 150_000)])
def test_largest_of_a_batch_are_those_of_torch(n: int, count: int) -> None:
    pre = torch.randn(100, n, generator=torch.Generator().manual_seed(n))
    active = active_largest(pre.unsqueeze(0), [count])
    assert torch.equal(active.values.sort().values, pre.flatten().topk(count).values.sort().values)
    rows = torch.repeat_interleave(active.offsets.diff())
    assert torch.equal(pre[rows, active.latents], active.values)


def test_largest_of_a_batch_is_found_where_a_sample_misleads() -> None:
    pre = torch.full((100, 4096), -1.0)
    pre[::7] = 5.0  # far fewer above zero than are asked for, and all equal
    assert len(active_largest(pre.unsqueeze(0), [100_000]).values) == 15 * 4096
    assert len(active_largest(pre.unsqueeze(0), [1000]).values) == 1000
    assert len(active_largest(torch.full((1, 4, 64), -1.0), [10]).values) == 0


def test_kept_entries_stay_in_their_rows() -> None:
    pre = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    kept = keep(where(pre > 0, pre), torch.tensor([False, True, True, False]))
    assert (kept.offsets.tolist(), kept.latents.tolist(), kept.values.tolist()) == ([0, 1, 1, 2], [1, 0], [2.0, 3.0])


@pytest.mark.parametrize("grouped", [True, False])
def test_sums_on_a_gpu_are_in_the_order_of_the_lists(grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`index_add_` of floats adds in the order in which a GPU's threads arrive: other bits every time."""
    f = torch.randn(300, 40, generator=torch.Generator().manual_seed(0)).relu()
    f[:, 7] = 0  # a latent that fires in no row
    active = where(f > 0, f)
    expected = sum_by_latent(active, active.values, 40)
    firings = sum_by_latent(active, (active.values > 0).int(), 40)
    monkeypatch.setattr(sparse, "asynchronous", lambda tensor: True)
    added, index_add = [], torch.Tensor.index_add_
    monkeypatch.setattr(torch.Tensor, "index_add_", lambda t, *a: added.append(t.dtype) or index_add(t, *a))
    found = sum_by_latent(active, active.values, 40, by_latent(active, 40) if grouped else None)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.double(), f.double().sum(0), rtol=1e-6, atol=1e-6)
    assert torch.equal(sum_by_latent(active, (active.values > 0).int(), 40), firings)
    assert added == [torch.int32]  # integers come out alike in any order
