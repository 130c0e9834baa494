"""Shells of boundaries: planted ones, closed forms, and what LayerNorm makes impossible."""

import math

import pytest
import torch

from polytopes.experiments import radius
from polytopes.experiments.radius import EDGES, shells
from polytopes.reading.subject import Subject
from tests.polytopes.planted import generator, layer_of
from winnow.config.polytopes import PolytopesSettings

SETTINGS = PolytopesSettings()


def unit_rows(rows: int = 500, seed: int = 0) -> torch.Tensor:
    x = torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed)).double()
    return x / x.norm(dim=1, keepdim=True)


def test_a_planted_shell_is_found():
    """Hyperplanes at distance ½: no ray meets one earlier, and most are met soon after."""
    normals = unit_rows(300, seed=1).float()
    found = shells(
        layer_of(normals, torch.full((300,), 0.5)), unit_rows(), torch.zeros(16).double(), False, generator()
    )
    inside = EDGES.index(0.5)
    for name in ("data", "isotropic", "gaussian"):
        assert found[name]["density"][:inside].max() == 0
        assert found[name]["density"][inside:].min() > 0
    assert found["median_radius"] == pytest.approx(1)
    assert found["natural"].tolist() == pytest.approx([1, 1])


def test_gaussian_neurons_are_met_as_the_closed_form_says():
    """w ~ N(0, I), b ~ N(0, σ²): a share arctan(R/σ)/π of neurons is crossed within R on a unit ray."""
    n, sigma, draw = 4000, 0.7, torch.Generator().manual_seed(3)
    mlp = layer_of(torch.randn(n, 16, generator=draw), sigma * torch.randn(n, generator=draw))
    found = shells(mlp, unit_rows(), torch.zeros(16).double(), False, generator())
    within = (found["isotropic"]["density"] * torch.tensor(EDGES).double().diff()).cumsum(0) / n
    expected = [math.atan(edge / sigma) / math.pi for edge in EDGES[1:]]
    torch.testing.assert_close(within, torch.tensor(expected).double(), rtol=0.05, atol=0.002)


def test_no_ray_from_the_origin_crosses_anything_before_layer_norm(embedded: Subject):
    mlp, x = embedded.mlp(2), embedded.residual(2).double()
    found = shells(mlp, x, torch.zeros_like(x[0]), True, generator())
    # ε alone makes the norm's output depend on the radius, and only near the origin
    assert all(found[name]["density"][1:].max() < 0.1 for name in ("data", "isotropic"))
    from_mean = shells(mlp, x, x.mean(0), True, generator())
    assert from_mean["data"]["density"].max() > 10


def test_a_trained_model_has_a_shell_just_inside_its_rows(embedded: Subject):
    made = radius.measure(embedded, SETTINGS)
    found = made["layers"][2]["spaces"]["residual"]
    place = found["data"]["density"].argmax()
    assert 0.3 <= made["edges"][place] <= 0.85
    assert found["data"]["density"][0] < 0.5 * found["data"]["density"][place]
    low, high = found["natural"].tolist()
    assert 0.6 < low < 1 < high < 1.6
    origin = made["layers"][2]["spaces"]["read_from_origin"]["isotropic"]["density"]
    assert origin[1] > origin[-1]  # no shell there
    assert [entry["layer"] for entry in made["untrained"]] == [0, 1, 2, 3]
