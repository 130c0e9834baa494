from pathlib import Path

import pytest
import torch
from torch import Tensor

import winnow
from tests.train.experiments import load, write_run
from train.initialise import INITIALISATIONS, first_directions
from train.stage import train
from winnow.config import Dictionaries

D = 8


def sample() -> Tensor:
    """Activations that vary by far the most along the first axis."""
    x = torch.randn(500, D, generator=torch.Generator().manual_seed(4)) * 0.1
    x[:, 0] *= 50
    return x


def directions(name: str, n: int, seed: int = 0) -> Tensor:
    return first_directions(name, n, D, seed, sample)


@pytest.mark.parametrize("name", INITIALISATIONS)
@pytest.mark.parametrize("n", [5, 8, 40])
def test_directions_have_unit_norm_and_follow_the_seed(name: str, n: int) -> None:
    found = directions(name, n)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(n))
    assert torch.equal(found, directions(name, n))
    if name != "pca" or n > 2 * D:
        assert not torch.equal(found, directions(name, n, seed=1))
    assert len(found.unique(dim=0)) == n


def test_sizes_of_one_seed_share_no_direction() -> None:
    cosines = directions("random", 8) @ directions("random", 16).T
    assert cosines.max() < 0.999


def test_orthogonal_is_a_tight_frame() -> None:
    frame = directions("orthogonal", 3 * D)
    torch.testing.assert_close(frame.T @ frame, 3 * torch.eye(D), rtol=1e-5, atol=1e-5)


def test_pca_starts_along_the_largest_variance_both_ways() -> None:
    first = directions("pca", 40)[:2]
    assert first[0, 0].abs() > 0.99
    torch.testing.assert_close(first[1], -first[0])


def test_basis_stays_near_the_axes() -> None:
    found = directions("basis", 2 * D)
    assert (found[:D].diagonal() > 0.7).all()
    assert (found[D:].diagonal() < -0.7).all()


def test_kmeans_finds_planted_centres() -> None:
    centres = torch.eye(D)[:4] * 3
    rows = centres.repeat_interleave(50, 0) + 0.05 * torch.randn(200, D, generator=torch.Generator().manual_seed(1))
    found = first_directions("kmeans", 32, D, 0, lambda: rows)
    assert ((found @ torch.eye(D)[:4].T).amax(0) > 0.99).all()


def test_configuration_knows_every_name() -> None:
    known = Dictionaries.model_json_schema()["properties"]["initialisation"]["enum"]
    assert known == list(INITIALISATIONS)


def test_initialisation_is_part_of_the_name_and_trains(tmp_path: Path) -> None:
    grid = {"architecture": "topk", "n_latents": 24, "k": 3, "initialisation": "kmeans"}
    train(load(write_run(tmp_path, [grid], rows=500)))
    (d,) = winnow.load_dictionaries(tmp_path / "run")
    assert d.path is not None
    assert d.path.name == "topk-24-k3-kmeans-seed0"
