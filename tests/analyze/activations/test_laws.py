import numpy as np
import pytest

from analyze.activations.laws import fit_laws

DRAW = {
    "normal": lambda random, shape: random.normal(size=shape),
    "laplace": lambda random, shape: random.laplace(size=shape),
    "student_t": lambda random, shape: random.standard_t(3.5, size=shape),
}


@pytest.mark.parametrize("law", list(DRAW))
def test_the_law_that_made_the_values_is_as_good_as_any(law):
    random = np.random.default_rng(0)
    found = fit_laws(7 + 3 * DRAW[law](random, (4000, 5)), np.random.default_rng(1))["laws"]
    best = max(entry["log_likelihood"] for entry in found.values())
    assert found[law]["log_likelihood"] > best - 0.005
    wrong = "laplace" if law == "normal" else "normal"
    assert found[wrong]["log_likelihood"] < best - 0.03


def test_a_standard_normal_has_the_likelihood_of_its_entropy():
    found = fit_laws(np.random.default_rng(0).normal(size=(5000, 4)), np.random.default_rng(1))
    assert found["laws"]["normal"]["log_likelihood"] == pytest.approx(-0.5 * np.log(2 * np.pi * np.e), abs=0.03)


def test_constant_dimensions_are_left_out():
    assert fit_laws(np.ones((500, 3)), np.random.default_rng(0)) == {"best": None, "laws": {}, "histogram": None}


def test_histogram_is_the_density_of_the_judged_values() -> None:
    values = np.random.default_rng(0).standard_normal((4000, 8))
    found = fit_laws(values, np.random.default_rng(1))["histogram"]
    edges, density = found["edges"], found["density"]
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
    centres = (edges[1:] + edges[:-1]) / 2
    np.testing.assert_allclose(density, np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi), atol=0.03)
