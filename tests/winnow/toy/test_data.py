"""Toy data against the closed forms of its assumptions."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from winnow.config.toy import ToySettings
from winnow.toy.codes import bounds
from winnow.toy.data import CHUNK_ROWS, ToyData, ToyRows
from winnow.toy.regime import regime

SMALL = ToySettings(d_model=16, n_features=24, active=3.0, decay=0.9, common=0.8, causes=2)


def changed(settings: ToySettings, **changes: Any) -> ToySettings:
    return ToySettings(**{**settings.model_dump(), **changes})


def draw(toy: ToySettings, chunks: int = 20) -> tuple[ToyRows, torch.Tensor]:
    rows = ToyData(toy).rows(0, chunks * CHUNK_ROWS)
    return rows, rows.codes(toy.n_features)


@pytest.mark.parametrize("form", ["geometric", "power"])
@pytest.mark.parametrize("common", [0.0, 1.0])
def test_features_fire_as_often_as_the_decay_says(form: str, common: float) -> None:
    """A saturated u would give the power form one rate for all features; a wrong variance would bend both."""
    toy = changed(SMALL, decay_form=form, common=common, active=2.0)
    _, codes = draw(toy)
    fires = (codes > 0).double()
    i = np.arange(toy.n_features)
    shape = 0.9**i / 2 if form == "geometric" else 1 / (1 + 0.9 * i)
    expected = torch.from_numpy(2.0 * shape / shape.sum())
    error = (expected * (1 - expected) / len(codes)).sqrt()
    assert ((fires.mean(0) - expected).abs() < 5 * error).all()
    # rows differ in how many fire, the more the more is common; 5 standard errors of what is found
    assert abs(fires.sum(1).mean() - 2.0) < 5 * fires.sum(1).std() / math.sqrt(len(codes))


@pytest.mark.parametrize("form", ["geometric", "power"])
@pytest.mark.parametrize("common", [0.0, 0.6])
def test_codes_follow_the_law_of_a_naive_construction(form: str, common: float) -> None:
    """Every normal and every uniform drawn, in float64, as the module describes the law; rates of pairs compared."""
    toy = changed(SMALL, decay_form=form, common=common, active=2.0)
    rng, count = np.random.default_rng(1), 30 * CHUNK_ROWS
    loadings = ToyData(toy).loadings.astype(np.float64)
    z = rng.standard_normal((count, toy.causes)) @ loadings.T
    z += (1 - common) ** 0.5 * rng.standard_normal(z.shape)
    u, i = torch.special.ndtr(torch.from_numpy(z)).numpy(), np.arange(toy.n_features)
    p = toy.scale * (u * 0.9**i if form == "geometric" else u ** (0.9 * i))
    naive = torch.from_numpy((rng.random(p.shape) < p).astype(np.float64))
    fires = (draw(toy, 30)[1] > 0).double()
    expected, found = (together.T @ together / count for together in (naive, fires))
    error = (2 * expected * (1 - expected) / count).sqrt()
    assert ((found - expected).abs() < 5 * error + 5 / count).all()
    if common:  # the test would notice, had the features been independent
        apart = naive.mean(0)[:, None] * naive.mean(0)
        different = ~torch.eye(toy.n_features, dtype=torch.bool)
        assert ((expected - apart).abs() > 5 * error)[different].float().mean() > 0.1


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    toy = changed(SMALL, decay_form="power", n_features=300, directions="learned")
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(ToyData(toy).rows(0, 100))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].activations, found[1].activations)
    assert torch.equal(found[0].features, found[1].features)


def test_features_fire_together_as_their_normals_correlate() -> None:
    """E[Φ(x)Φ(y)] = ¼ + arcsin(ρ/2) / 2π for normals of unit variance that correlate by ρ."""
    rows, codes = draw(SMALL, 40)
    fires = (codes > 0).double()
    loadings = torch.from_numpy(ToyData(SMALL).loadings).double()
    rho = loadings @ loadings.T
    p_max = torch.from_numpy(bounds(SMALL))
    expected = p_max[:, None] * p_max * (0.25 + torch.arcsin(rho / 2) / (2 * math.pi))
    found = fires.T @ fires / len(codes)
    different = ~torch.eye(24, dtype=torch.bool)
    error = (expected * (1 - expected) / len(codes)).sqrt()
    assert ((found - expected).abs() < 5 * error)[different].all()
    independent = p_max[:, None] * p_max / 4
    assert ((found - independent).abs() > 10 * error)[different].float().mean() > 0.3  # the test would notice
    assert rho[different].abs().max() > 0.7
    assert len(rows.features) == fires.sum()


@pytest.mark.parametrize(
    ("magnitude", "mean", "square"),
    [("uniform", 1 / 2, 1 / 3), ("half-normal", math.sqrt(2 / math.pi), 1), ("constant", 1, 1)],
)
def test_magnitudes_have_their_moments(magnitude: str, mean: float, square: float) -> None:
    toy = changed(SMALL, magnitude=magnitude)
    values = draw(toy, 5)[0].magnitudes.double()
    assert abs(values.mean() - mean) < 0.01
    assert abs(values.square().mean() - square) < 0.02
    assert (values > 0).all() or magnitude == "uniform"


def test_rows_are_a_function_of_settings_and_number_however_they_are_cut() -> None:
    whole = ToyData(SMALL).rows(0, 2 * CHUNK_ROWS + 50)
    for start, stop in (
        (0, 10),
        (CHUNK_ROWS - 3, CHUNK_ROWS + 4),
        (CHUNK_ROWS, 2 * CHUNK_ROWS),
        (2 * CHUNK_ROWS + 50,) * 2,
    ):
        part = ToyData(SMALL).rows(start, stop)
        assert torch.equal(part.activations, whole.activations[start:stop])
        assert torch.equal(part.codes(24), whole.codes(24)[start:stop])
    for other in (changed(SMALL, seed=1), changed(SMALL, common=0.0)):
        assert not torch.equal(ToyData(other).rows(0, 50).activations, whole.activations[:50])


@pytest.mark.parametrize("form", ["geometric", "power"])
def test_rows_are_the_sums_of_their_features(form: str) -> None:
    toy = changed(SMALL, decay_form=form)
    rows, codes = draw(toy, 1)
    torch.testing.assert_close(
        rows.activations.double(), codes.double() @ ToyData(toy).directions.double(), rtol=1e-6, atol=1e-6
    )
    for row in range(100):
        entries = rows.features[rows.offsets[row] : rows.offsets[row + 1]]
        assert torch.equal(entries, entries.unique())


@pytest.mark.parametrize("kind", ["sphere", "learned", "antipodal"])
def test_directions_have_unit_norm_and_follow_the_seed(kind: str) -> None:
    toy = changed(SMALL, directions=kind)
    found = ToyData(toy).directions
    torch.testing.assert_close(found.norm(dim=1), torch.ones(24))
    assert torch.equal(found, ToyData(toy).directions)
    assert not torch.allclose(found, ToyData(changed(toy, seed=1)).directions)


def test_regime_tells_the_three_kinds_apart() -> None:
    toy = ToySettings(d_model=32, n_features=64)
    sphere, learned, antipodal = (
        regime(ToyData(changed(toy, directions=kind, antipodal_share=0.75)).directions)
        for kind in ("sphere", "learned", "antipodal")
    )
    assert (sphere.antipodal_share, learned.antipodal_share, antipodal.antipodal_share) == (0, 0, 0.75)
    assert (sphere.name, learned.name, antipodal.name) == ("mild", "mild", "antipodal")
    assert learned.mean_max_cosine < sphere.mean_max_cosine / 2
    assert learned.dimensionality.mean() > sphere.dimensionality.mean() + 0.05
    assert abs(sphere.dimensionality.mean() - 32 / (32 + 63)) < 0.02
    strong = regime(ToyData(ToySettings(d_model=32, n_features=256)).directions)
    assert strong.name == "interfering"
    assert strong.mean_max_abs_cosine > sphere.mean_max_abs_cosine


def test_regime_of_known_arrangements() -> None:
    alone = regime(3 * torch.eye(4))
    torch.testing.assert_close(alone.dimensionality, torch.ones(4))
    pairs = regime(torch.cat([torch.eye(4), -torch.eye(4)]))
    torch.testing.assert_close(pairs.dimensionality, torch.full((8,), 0.5))
    assert (pairs.antipodal_share, pairs.mean_max_abs_cosine, pairs.mean_max_cosine) == (1, 1, 0)
    uneven = regime(torch.tensor([[2.0, 0.0], [1.0, 0.0]]))  # 4 / (4 + 1), 1 / (4 + 1)
    torch.testing.assert_close(uneven.dimensionality, torch.tensor([0.8, 0.2]))


def test_impossible_settings_are_named() -> None:
    with pytest.raises(
        ValidationError, match=r"active = 10: with decay 0.9 \(geometric\) at most 4.6 of 24 features can be"
    ):
        changed(SMALL, active=10.0)
    with pytest.raises(ValidationError, match=r"decay\n.*less than or equal to 1"):
        changed(SMALL, decay=1.5)
