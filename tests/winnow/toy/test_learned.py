"""The gradient that is taken block by block is that of the autoencoder."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from winnow.toy import learned


@pytest.mark.parametrize("block", [256, 5])
def test_gradient_equals_autograd_in_float64(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "BLOCK", block)
    draw = torch.Generator().manual_seed(0)
    W = torch.randn(12, 4, dtype=torch.float64, generator=draw).requires_grad_()
    b = (0.3 * torch.randn(12, dtype=torch.float64, generator=draw)).requires_grad_()
    one_hot = torch.eye(12, dtype=torch.float64)
    (torch.relu(one_hot @ W @ W.T + b) - one_hot).square().sum(1).mean().backward()
    with ThreadPoolExecutor(2) as pool:
        of_W, of_b = learned.gradient(W.detach(), b.detach(), pool)
    torch.testing.assert_close(of_W, W.grad)
    torch.testing.assert_close(of_b, b.grad)


def test_learning_removes_positive_overlaps() -> None:
    start = torch.nn.functional.normalize(torch.randn(32, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    found = learned.learned_directions(start, steps=200)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(32))
    before, after = ((w @ w.T).fill_diagonal_(0).amax(1).mean() for w in (start, found))
    assert after < before / 2
