import math

import numpy as np
import pytest
import torch

from analyze.activations.toy_assumptions import assumptions, dependence, geometric_decay, magnitudes


@pytest.fixture
def random():
    return np.random.default_rng(0)


def bernoulli(rates, rows=4000, seed=0):
    return torch.rand(rows, len(rates), generator=torch.Generator().manual_seed(seed)) < torch.as_tensor(rates)


def test_codes_made_as_the_toy_makes_them_agree_with_it(random):
    fires = bernoulli([0.2 * 0.95**i for i in range(40)], 20_000)
    codes = fires * torch.rand(fires.shape, generator=torch.Generator().manual_seed(1))
    found = assumptions(codes, random)
    assert found["agrees"] == {"sparsity": True, "decay": True, "independence": True, "magnitudes": True}
    assert found["active"] == pytest.approx(np.mean([0.2 * 0.95**i for i in range(40)]), rel=0.02)
    assert found["decay"]["factor"] == pytest.approx(0.95, abs=0.003)
    assert found["magnitudes"]["variation"] == pytest.approx(1 / math.sqrt(3), abs=0.01)


def test_dense_dependent_heavy_tailed_codes_do_not(random):
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(5000, 1, generator=generator)
    codes = (common + 0.5 * torch.randn(5000, 20, generator=generator)).clamp_min(0).square()
    found = assumptions(codes, random)
    assert found["agrees"]["sparsity"] is found["agrees"]["independence"] is found["agrees"]["magnitudes"] is False


@pytest.mark.parametrize(
    ("draw", "best", "variation"),
    [
        (lambda r, n: r.random(n), "uniform", 3**-0.5),
        (lambda r, n: abs(r.standard_normal(n)), "half_normal", math.sqrt(math.pi / 2 - 1)),
        (lambda r, n: r.standard_exponential(n), "exponential", 1),
    ],
)
def test_the_law_that_drew_the_magnitudes_is_found(random, draw, best, variation):
    codes = torch.from_numpy(draw(random, (5000, 4))).float() * torch.tensor([1.0, 5.0, 0.1, 2.0])
    found = magnitudes(codes, random)
    assert found["best"] == best
    assert found["variation"] == pytest.approx(variation, rel=0.03)


def test_independent_units_show_the_dependence_of_their_number_of_rows(random):
    found = dependence(bernoulli([0.3] * 30), random)
    assert found["null"] == pytest.approx(math.sqrt(2 / (math.pi * 4000)), rel=0.1)
    assert found["phi"] == pytest.approx(found["null"], rel=0.15)


def test_copies_fire_together(random):
    fires = bernoulli([0.3])
    assert dependence(fires.expand(-1, 2), random)["phi"] == pytest.approx(1, rel=1e-5)


def test_equal_rates_fall_by_the_factor_one():
    assert geometric_decay(np.full(5, 0.1)) == {"factor": pytest.approx(1), "r2": 1.0}
    assert math.isnan(geometric_decay(np.array([0.1, 0.2]))["r2"])


def test_codes_that_never_fire_say_nothing(random):
    found = assumptions(torch.zeros(50, 3), random)
    assert found["agrees"] == {"sparsity": True, "decay": None, "independence": None, "magnitudes": None}
