"""Layers that are lookups among affine maps and layers that are one map; every control against what it must be."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from polytopes.experiments import regions
from polytopes.maps import affine_cells
from polytopes.maps.affine_cells import Rows, Split, cell_means, fit_cells, fit_globally, split
from polytopes.reading.subject import Subject
from tests.winnow.spline.planted import draw, make_mlp
from winnow.config.polytopes import PolytopesSettings, RegionSettings
from winnow.errors import UserError
from winnow.runtime.to_json import to_json
from winnow.spline.maps import affine_map_of
from winnow.spline.mlp import MLP

SEQUENCE = np.arange(2000) // 10


def fvu(y: Tensor, predicted: Tensor) -> float:
    return ((y - predicted).square().sum() / (y - y.mean(0)).square().sum()).item()


def lookup() -> tuple[Rows, Tensor]:
    """Rows about four far centres, each with an affine map of its own; and the centres."""
    centres = 30 * torch.eye(4, 6, dtype=torch.float64)
    owner = torch.arange(2000) % 4
    u = centres[owner] + draw(2000, 6, seed=1)
    A, c = draw(4, 6, 5, seed=2), draw(4, 5, seed=3)
    return Rows(u, ((u - centres[owner])[:, None] @ A[owner]).squeeze(1) + c[owner], SEQUENCE), centres


def test_four_planted_maps_are_found_with_four_centres_and_not_with_one():
    rows, planted = lookup()
    parts = split(rows, 0)
    left, everywhere = fit_globally(parts)
    one = fvu(parts.test.y, everywhere.y)
    places = regions.cluster_centres(parts.train.u, 4, 0)
    assert torch.cdist(planted, places).min(1).values.max() < 1
    cells = [regions.nearest(part.u, places) for part in parts]
    four = fvu(parts.test.y, everywhere.y + fit_cells(left, cells).y)
    assert one > 0.1
    assert four < 1e-6
    generator = torch.Generator().manual_seed(0)
    shuffled = [cell[torch.randperm(len(cell), generator=generator)] for cell in cells]
    assert fvu(parts.test.y, everywhere.y + fit_cells(left, shuffled).y) == pytest.approx(one, rel=0.02)


def test_an_affine_layer_is_flat_in_the_number_of_centres():
    u = draw(2000, 6, seed=1)
    parts = split(Rows(u, u @ draw(6, 5, seed=2) + 0.5 * draw(2000, 5, seed=4), SEQUENCE), 0)
    left, everywhere = fit_globally(parts)
    one = fvu(parts.test.y, everywhere.y)
    for count in (1, 4, 64, 512):
        places = regions.cluster_centres(parts.train.u, count, 0)
        found = fit_cells(left, [regions.nearest(part.u, places) for part in parts])
        assert fvu(parts.test.y, everywhere.y + found.y) == pytest.approx(one, rel=0.02)


def test_small_cells_would_overfit_without_the_shrinkage(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(affine_cells, "LAMBDAS", (1e-9,))
    with pytest.raises(AssertionError):
        test_an_affine_layer_is_flat_in_the_number_of_centres()


def test_cells_are_ridge_regressions():
    """Against normal equations, for more rows than inputs and for fewer."""
    for rows in (40, 4):
        u, y = draw(rows, 6, seed=5), draw(rows, 3, seed=6)
        train = Rows(u, y, np.arange(rows))
        maps = affine_cells._Maps(train, torch.zeros(rows, dtype=torch.int64))
        fresh = draw(7, 6, seed=7)
        x, ridge = u - u.mean(0), 0.3
        B = torch.linalg.solve(x.T @ x + ridge * maps.unit * torch.eye(6, dtype=torch.float64), x.T @ y)
        expected = (fresh - u.mean(0)) @ B + y.sum(0) / (rows + ridge)
        found = maps.predict(fresh, torch.zeros(7, dtype=torch.int64), [ridge])[0]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        other_cell = maps.predict(fresh, torch.ones(7, dtype=torch.int64), [ridge])[0]
        assert other_cell.abs().max() == 0


def test_no_sequence_is_fitted_and_measured():
    parts = split(Rows(draw(2000, 2), draw(2000, 2), SEQUENCE), 3)
    found = [set(part.sequence.tolist()) for part in parts]
    assert [len(one) for one in found] == [140, 20, 40]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    with pytest.raises(UserError, match="rows of 10 sequences are needed, found 2"):
        split(Rows(draw(20, 2), draw(20, 2), np.arange(20) // 10), 0)


@pytest.mark.parametrize("gated", [False, True])
def test_the_controls_at_a_row_itself(gated: bool):
    """A row that is its own centre: value map and tangent give the layer's output."""
    mlp = make_mlp("gelu", gated=gated)
    u, centre = draw(20, 7, seed=8), draw(20, 7, seed=9)
    torch.testing.assert_close(regions.tangent_at_centre(mlp, u, u), mlp(u))
    expected = affine_map_of(mlp, centre, "tangent")(u)
    torch.testing.assert_close(regions.tangent_at_centre(mlp, u, centre), expected)
    if gated:
        for refused in (lambda: regions.shared_code(mlp, u, u), lambda: regions.hard_output(mlp, u)):
            with pytest.raises(UserError, match="maps are quadratic given the code"):
                refused()
        return
    torch.testing.assert_close(regions.shared_code(mlp, u, u), mlp(u))
    torch.testing.assert_close(regions.shared_code(mlp, u, centre), affine_map_of(mlp, centre, "value")(u))
    torch.testing.assert_close(regions.hard_output(mlp, u), affine_map_of(mlp, u, "hard")(u))
    assert (regions.shared_code(mlp, u, centre) - mlp(u)).norm() > 0.1


def test_constants_are_the_cells_means():
    train = Rows(draw(4, 2), torch.tensor([[1.0], [3.0], [10.0], [2.0]], dtype=torch.float64), np.arange(4))
    test = Rows(draw(3, 2), draw(3, 1), np.arange(3))
    cells = [torch.tensor([0, 0, 2, 2]), torch.zeros(0, dtype=torch.int64), torch.tensor([2, 0, 1])]
    found = cell_means(Split(train, train, test), cells, 3)
    assert found.flatten().tolist() == [6, 2, 4]  # nothing in cell 1: the mean of all


@pytest.fixture(scope="module")
def measured() -> dict:
    mlp = make_mlp("relu", d=6, n=24, d_out=5)
    return regions.measure_layer(mlp, draw(3000, 6, seed=1), np.arange(3000) // 10, [1, 4, 16, 64], seed=0)


def test_a_layer_and_all_its_controls(measured: dict):
    curves = {name: [one["fvu"] for one in curve] for name, curve in measured["curves"].items()}
    ridge = curves["ridge"]
    assert ridge == sorted(ridge, reverse=True)
    assert ridge[-1] < 0.6 * ridge[0]
    assert curves["constant"][0] == pytest.approx(1, abs=0.01)
    assert all(constant > fitted for constant, fitted in zip(curves["constant"], ridge, strict=True))
    assert curves["shuffled"] == pytest.approx([ridge[0]] * 4, rel=0.02)
    assert curves["random_centres"][0] == pytest.approx(ridge[0], rel=0.01)
    assert curves["random_centres"][3] > ridge[3]
    assert curves["shared_code"] == pytest.approx(curves["tangent"])  # of relu they are one
    assert measured["hard_code"]["fvu"] == pytest.approx(0, abs=1e-20)
    assert measured["zero"]["fvu"] > 1
    assert all(one["low"] < one["fvu"] < one["high"] for one in measured["curves"]["ridge"])


def test_it_is_the_same_each_time(measured: dict):
    mlp = make_mlp("relu", d=6, n=24, d_out=5)
    again = regions.measure_layer(mlp, draw(3000, 6, seed=1), np.arange(3000) // 10, [1, 4, 16, 64], seed=0)
    assert again == measured


def test_gated_layers_have_no_shared_code():
    mlp = make_mlp("silu", gated=True)
    found = regions.measure_layer(mlp, draw(400, 7, seed=1), np.arange(400) // 10, [1, 4], seed=0)
    assert found["curves"]["shared_code"] is None
    assert found["hard_code"] is None
    assert len(found["curves"]["tangent"]) == 2
    with pytest.raises(UserError, match="1,000 centres for 280 rows to fit on"):
        regions.measure_layer(mlp, draw(400, 7, seed=1), np.arange(400) // 10, [1, 1000], seed=0)


def test_numbers_stored_and_multiplied():
    d, n = 8, 32
    mlp = make_mlp("relu", d=d, n=n, d_out=d)
    assert regions.stored(mlp) == 2 * d * n + n + d
    assert regions.multiplications(mlp) == 2 * d * n
    assert regions.stored(mlp, 3) == 3 * d * (d + 2)
    assert regions.multiplications(mlp, 3) == 3 * d + d * d
    gated = make_mlp("silu", d=d, n=n, d_out=d, gated=True)
    without = MLP(gated.W_in, 0 * gated.b_in, gated.W_out, 0 * gated.b_out, gated.gate, gated.W_value, 0 * gated.b_in)
    assert regions.stored(without) == regions.multiplications(without) == 3 * d * n


def test_the_experiment_looks_at_every_layer_on_harvested_text(embedded: Subject):
    settings = PolytopesSettings(regions=RegionSettings(centres=[1, 4], rows=300))
    found = regions.measure(replace(embedded, layers=(0, 2)), settings)
    assert [one["layer"] for one in found["layers"]] == [0, 2]
    for one in found["layers"]:
        assert sum(one["rows"].values()) == 300
        ridge = [point["fvu"] for point in one["curves"]["ridge"]]
        assert 0 < ridge[0] < one["zero"]["fvu"]
        assert one["hard_code"]["fvu"] < ridge[0]
        assert one["mlp"] == {"stored": 2 * 128 * 512 + 512 + 128, "multiplications": 2 * 128 * 512}
    assert to_json(regions.measure(replace(embedded, layers=(0,)), settings))["layers"] == to_json(found["layers"][:1])
