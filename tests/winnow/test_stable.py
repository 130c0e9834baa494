"""Latents that come back with every seed are found, and pooled into a dictionary that works as theirs did."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import winnow
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError

D, SHARED, OWN = 24, 6, 4


def unit(*shape: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def dictionary(seed: int, **more: Any) -> Dictionary:
    """Shared directions, in another order for each seed, and some that no other has."""
    order = torch.randperm(SHARED + OWN, generator=torch.Generator().manual_seed(seed))
    directions = torch.cat([unit(SHARED, D, seed=0), unit(OWN, D, seed=100 + seed)])[order]
    options: dict[str, Any] = {"architecture": "relu", "hook": "h", "path": Path(f"seed{seed}"), **more}
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Any] = {name: value(order) if callable(value) else value for name, value in options.items()}
    return Dictionary(
        directions.T * 1.5,
        torch.randn(SHARED + OWN, generator=generator) * 0.1,
        directions,
        torch.randn(D, generator=generator),
        **made,
    )


def test_a_latent_is_stable_where_every_other_seed_has_it() -> None:
    seeds = [dictionary(seed) for seed in (1, 2, 3)]
    for one, cosines in zip(seeds, winnow.stability(seeds), strict=True):
        assert cosines.shape == (SHARED + OWN, 2)
        shared = (one.W_dec @ unit(SHARED, D, seed=0).T).amax(1) > 0.99
        assert shared.sum() == SHARED
        torch.testing.assert_close(cosines[shared], torch.ones(SHARED, 2))
        assert cosines[~shared].max() < 0.7


KINDS: dict[str, dict[str, Any]] = {
    "relu": {},
    "jumprelu": {"architecture": "jumprelu", "threshold": lambda order: 0.1 + 0.01 * order.float()},
    "gated": {
        "architecture": "gated",
        "r_mag": lambda order: 0.1 * order.float(),
        "b_mag": lambda order: 0.05 * order.float(),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_pooled_latents_fire_as_they_did(kind: str, tmp_path: Path) -> None:
    seeds = [dictionary(seed, **KINDS[kind]) for seed in (1, 2, 3)]
    pooled = winnow.pool_stable(seeds)
    assert pooled.n_latents == SHARED  # each feature once, and nothing that one seed alone has
    x = torch.randn(50, D, generator=torch.Generator().manual_seed(9)) * 2
    cosines = pooled.W_dec @ seeds[0].W_dec.T
    torch.testing.assert_close(cosines.amax(1), torch.ones(SHARED))
    torch.testing.assert_close(pooled.encode(x), seeds[0].encode(x)[:, cosines.argmax(1)], atol=1e-5, rtol=1e-5)
    assert (pooled.encode(x) > 0).any()
    save_dictionary(pooled, tmp_path / "pooled", {}, pooled.provenance)
    loaded = winnow.load_dictionary(tmp_path / "pooled")
    assert torch.equal(loaded.encode(x), pooled.encode(x))
    assert loaded.provenance["pooled"]["from"] == ["seed1", "seed2", "seed3"]


def test_a_feature_that_seeds_cannot_agree_on_is_not_pooled() -> None:
    pooled = winnow.pool_stable([dictionary(seed, k=8, architecture="topk") for seed in (1, 2, 3)])
    assert pooled.k == SHARED  # no more than there are
    with pytest.raises(UserError, match="lower the threshold"):
        winnow.pool_stable([dictionary(seed) for seed in (1, 2, 3)], threshold=1.1)


def test_what_cannot_be_compared_is_named() -> None:
    two = [dictionary(1), dictionary(2)]
    with pytest.raises(UserError, match="needs 3 dictionaries that differ in their seed, found 2"):
        winnow.stability(two)
    with pytest.raises(UserError, match="seed3: hook is other, that of seed1 is h"):
        winnow.pool_stable([*two, dictionary(3, hook="other")])
    with pytest.raises(UserError, match="found 0"):
        winnow.pool_stable([])
