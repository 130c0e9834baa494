"""How far two programs agree on one dictionary."""

from collections.abc import Callable

import torch
from torch import Tensor

from winnow.dictionary import Dictionary

TOLERANCE = 1e-5


def some_rows(d_model: int, *shape: int) -> Tensor:
    """Draw activations [*shape, d_model], 64 of them by default, away from the origin."""
    generator = torch.Generator().manual_seed(9)
    return torch.randn(*(shape or (64,)), d_model, generator=generator) + 0.5


@torch.no_grad()
def assert_agrees(
    dictionary: Dictionary, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], x: Tensor
) -> None:
    """Assert equal latents and reconstructions of rows x, shapes included, of latents that are neither all nor none."""
    f = encode(x)
    assert 0.01 < (f > 0).float().mean() < 0.99
    torch.testing.assert_close(dictionary.encode(x), f, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(dictionary.decode(f), decode(f), rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(dictionary(x), decode(f), rtol=TOLERANCE, atol=TOLERANCE)


@torch.no_grad()
def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter with random numbers; thresholds with positive ones."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * 0.5
        parameter.copy_(drawn.abs() if "threshold" in name else drawn)
