"""Every architecture finds what there is to find: toy data whose features are known (winnow/toy)."""

from typing import Any

import pytest
import torch
from torch import Tensor

import winnow
from tests.stores import write_store
from tests.train.experiments import HOOK, load, write_run
from train.stage import train
from winnow.config.toy import ToySettings
from winnow.toy.data import ToyData

TOY = ToySettings(d_model=64, n_features=128)
# the best setting found for each
GRIDS: dict[str, dict[str, Any]] = {
    "relu": {"architecture": "relu", "n_latents": 128, "l1_coefficient": 1.0, "learning_rate": 3e-2},
    "tied": {"architecture": "relu", "tied": True, "n_latents": 128, "l1_coefficient": 1.0, "learning_rate": 3e-2},
    "topk": {"architecture": "topk", "n_latents": 160, "k": 5, "learning_rate": 1e-2},
    "batchtopk": {"architecture": "batchtopk", "n_latents": 192, "k": 5, "learning_rate": 1e-2},
    "jumprelu": {
        "architecture": "jumprelu",
        "n_latents": 192,
        "l0_coefficient": 1.0,
        "bandwidth": 0.3,
        "learning_rate": 1e-2,
    },
    "gated": {"architecture": "gated", "n_latents": 128, "l1_coefficient": 2.0, "learning_rate": 3e-2},
    "matryoshka": {
        "architecture": "matryoshka",
        "n_latents": 256,
        "k": 4,
        "learning_rate": 2e-2,
        "initialisation": "samples",
    },
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Train one of each in one sweep; give each true feature's largest cosine with a learned direction."""
    folder = tmp_path_factory.mktemp("learning")
    toy = ToyData(TOY)
    write_store(folder / "run" / "activations", {HOOK: toy.rows(0, 100_000).activations}, rows_per_shard=32_768)
    train(load(write_run(folder, list(GRIDS.values()), rows=204_800, batch_rows=256, checkpoint_rows=10**6)))
    dictionaries = {_kind(d): d for d in winnow.load_dictionaries(folder / "run")}
    return {kind: (toy.directions @ d.W_dec.T).amax(1) for kind, d in dictionaries.items()}


def _kind(d: winnow.Dictionary) -> str:
    return "tied" if d.provenance["settings"].get("tied") else d.architecture


@pytest.mark.slow
@pytest.mark.parametrize("kind", GRIDS)
def test_nine_in_ten_features_are_found(kind: str, found: dict[str, Tensor]) -> None:
    assert float((found[kind] > 0.9).float().mean()) >= 0.9, found[kind].quantile(torch.tensor([0.0, 0.05, 0.1, 0.5]))


def test_as_many_random_directions_find_none() -> None:
    """What the test above would say of dictionaries that learned nothing."""
    noise = torch.nn.functional.normalize(torch.randn(256, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    assert float((ToyData(TOY).directions @ noise.T).amax()) < 0.9
