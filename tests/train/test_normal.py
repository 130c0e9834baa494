"""Normal rows depend on their numbers alone, and have the moments that are asked for."""

from pathlib import Path

import pytest
import torch

from tests.stores import planted, write_store
from tests.train.experiments import HOOK
from train.loader import Loader
from train.normal import BLOCK, GAUSSIAN, HELD_OUT, NOISE, Drawn, NormalRows

CPU = torch.device("cpu")
D = 16


def drawn(folder: Path, scale: float = 2.0, seed: int = 3) -> Drawn:
    x, _ = planted(3000, D, 40, 3)
    store = write_store(folder / f"{seed}", {HOOK: x * torch.linspace(0.2, 2, D)})
    mean = torch.from_numpy(store.statistics(HOOK).mean * scale).float()
    return Drawn(Loader(store, HOOK, seed, 2**20), scale, mean)


def rows_of(folder: Path) -> torch.Tensor:
    x, _ = planted(3000, D, 40, 3)
    return x * torch.linspace(0.2, 2, D) * 2


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (BLOCK - 3, BLOCK + 4), (BLOCK, 2 * BLOCK), (7, 3 * BLOCK + 1)])
def test_a_row_is_the_same_in_whatever_batch(start: int, stop: int, tmp_path: Path) -> None:
    plain = NormalRows(D, 0, NOISE, CPU)
    whole = plain.read(0, 4 * BLOCK)
    assert torch.equal(NormalRows(D, 0, NOISE, CPU).read(start, stop), whole[start:stop])
    assert torch.equal(plain.read(start, stop), whole[start:stop])  # also after other rows
    gaussian = drawn(tmp_path).gaussian
    assert torch.equal(gaussian.read(start, stop), gaussian.read(0, 4 * BLOCK)[start:stop])


def test_seeds_streams_and_blocks_share_no_number() -> None:
    rows = [
        *(NormalRows(D, seed, stream, CPU).read(0, BLOCK) for seed in (0, 1) for stream in (NOISE, GAUSSIAN, HELD_OUT)),
        NormalRows(D, 0, NOISE, CPU).read(BLOCK, 2 * BLOCK),
    ]
    assert len(torch.cat(rows).unique(dim=0)) == 7 * BLOCK


def test_gaussian_rows_have_the_mean_and_covariance_of_the_activations(tmp_path: Path) -> None:
    x, found = rows_of(tmp_path).double(), drawn(tmp_path).gaussian.read(0, 200 * BLOCK).double()
    torch.testing.assert_close(found.mean(0), x.mean(0), atol=0.01, rtol=0)
    expected = torch.cov(x.T, correction=0)
    assert (torch.cov(found.T) - expected).abs().max() < 0.02 * expected.diagonal().max()
    kurtosis = (found - found.mean(0)).pow(4).mean(0) / found.var(0).square()
    torch.testing.assert_close(kurtosis, torch.full((D,), 3.0, dtype=torch.float64), atol=0.05, rtol=0)
    mine = (x - x.mean(0)).pow(4).mean(0) / x.var(0).square()
    assert (mine - 3).abs().max() > 0.5  # the activations are not normal, so the two tell them apart


def test_noise_has_the_activations_standard_deviation_in_every_dimension(tmp_path: Path) -> None:
    x, noise = rows_of(tmp_path).double(), drawn(tmp_path).noise(0, 100 * BLOCK).double()
    expected = x.var(0, correction=0).mean().sqrt()
    torch.testing.assert_close(noise.std(0), expected.expand(D), rtol=0.02, atol=0)
    assert noise.mean(0).abs().max() < 0.02 * expected


def test_held_out_rows_are_not_those_trained_on(tmp_path: Path) -> None:
    rows = drawn(tmp_path)
    held_out = torch.cat(list(rows.held_out(700, 300).batches()))
    assert held_out.shape == (700, D)
    trained_on = rows.gaussian.read(0, 2 * BLOCK)
    assert len(torch.cat([held_out, trained_on]).unique(dim=0)) == 700 + 2 * BLOCK
