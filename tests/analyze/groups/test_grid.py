import numpy as np
import pytest

from analyze.groups.grid import grids, stickiness


def entry(n, sparsity, name="l1_coefficient", **values):
    return {
        "path": f"{n}-{sparsity}",
        "hook": "x",
        "architecture": "relu",
        "seed": 0,
        "n_latents": n,
        "sparsity": {name: sparsity},
        "dead_fraction": n / 1000,
        "alive_fraction": 0.5,
        "l0": 10 / sparsity,
        "fvu": sparsity / n,
        "mse": n**-0.5 * sparsity**0.25,
        "l1": n**0.1 / sparsity,
        **values,
    }


def pair(a, b, mmcs):
    return {"from": a["path"], "to": b["path"], "mmcs": mmcs, "mmcs_corrected": mmcs / 2}


def test_rows_are_sizes_and_columns_sparsity_with_their_real_values():
    entries = [entry(n, s) for s in (4.0, 0.5, 1.0) for n in (256, 64)]
    (grid,) = grids(entries, [])
    assert grid["sizes"] == [64, 256]
    assert grid["sparsities"] == [0.5, 1.0, 4.0]
    assert grid["sparsity"] == "l1_coefficient"
    assert grid["fvu"].tolist() == [[0.5 / 64, 1 / 64, 4 / 64], [0.5 / 256, 1 / 256, 4 / 256]]
    assert grid["dead_fraction"].shape == grid["l0"].shape == (2, 3)


def test_agreement_is_with_the_next_larger_at_equal_sparsity():
    a, b, c, other = entry(64, 1.0), entry(128, 1.0), entry(256, 1.0), entry(128, 2.0)
    pairs = [pair(a, b, 0.8), pair(b, a, 0.1), pair(b, c, 0.6), pair(a, other, 0.2), pair(a, c, 0.3)]
    (grid,) = grids([a, b, c, other], pairs)
    np.testing.assert_allclose(grid["mmcs_next"], [[0.8, np.nan], [0.6, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(grid["mmcs_next_corrected"][:, 0], [0.4, 0.3, np.nan])


def test_a_gap_in_the_grid_is_skipped_over_and_shows_as_nothing():
    a, c = entry(64, 1.0), entry(256, 1.0)
    (grid,) = grids([a, c, entry(128, 2.0)], [pair(a, c, 0.7)])
    assert grid["mmcs_next"][0, 0] == 0.7
    assert np.isnan(grid["fvu"][1, 0])
    assert np.isnan(grid["fvu"][0, 1])


def test_hooks_architectures_seeds_and_options_have_grids_of_their_own():
    base = [entry(64, 1.0), entry(128, 1.0)]
    others = [
        {**e, key: value}
        for e in base
        for key, value in (("hook", "y"), ("architecture", "gated"), ("seed", 1), ("options", {"tied": True}))
    ]
    assert len(grids([*base, *others], [])) == 5
    assert grids(base[:1], []) == []


def test_stickiness_is_the_exponent_of_a_power_law():
    entries = [entry(n, s) for s in (0.5, 1.0, 4.0) for n in (64, 256, 512)]
    found = grids(entries, [])[0]["stickiness"]
    assert found["deprecated"] is True
    for name, exponent in (("mse_by_size", 0.5), ("mse_by_sparsity", 0.25), ("l1_by_size", 0.1), ("l1_by_sparsity", 1)):
        np.testing.assert_allclose(found[name], np.full((3, 3), exponent), rtol=1e-9)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_axis_of_one_value_has_no_slope(axis):
    assert np.isnan(stickiness(np.ones((1, 1)), np.ones(1), axis)).all()
