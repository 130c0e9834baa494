import pytest
import torch

from train.sparse import active_nonzero, active_top_k, by_latent, decode, top_k, weight_gradient


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
    active = active_nonzero(f)
    torch.testing.assert_close(decode(active, W_dec), f @ W_dec, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weight_gradient(by_latent(active, n), active.values, x), f.T @ x, rtol=1e-4, atol=1e-4)


def test_latents_kept_below_zero_are_zero() -> None:
    active = active_top_k(torch.full((3, 8), -1.0), 2)
    assert active.offsets.tolist() == [0, 2, 4, 6]
    assert active.values.tolist() == [0.0] * 6
