import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from analyze.compare.cosines import max_cosines, unit
from analyze.compare.regression import decompose, diagnosis, explained_variance, shares


def directions(n, d=64, seed=0):
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def three(found):
    return found["present"], found["composed"], found["absent"]


def test_planted_features_are_told_apart():
    b = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0))).Q[:20]
    parents = unit(b[:5] + b[5:10])  # composed of two
    elsewhere = torch.linalg.qr(torch.cat([b, directions(20, seed=1)]).T).Q.T[20:30]  # orthogonal to all of B
    found = decompose(torch.cat([b, parents, elsewhere]), b)
    by_chance = decompose(torch.cat([b, parents, elsewhere]), directions(20, seed=2))
    found_shares = diagnosis(found, by_chance)
    assert three(found_shares) == pytest.approx((20 / 35, 5 / 35, 10 / 35))
    assert three(found_shares["random"]) == (0, 0, 1)
    assert found_shares["random"]["r2"] == shares(by_chance)["r2"]
    torch.testing.assert_close(found.participation[:20], torch.ones(20), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.participation[20:25], 2 * torch.ones(5), atol=1e-3, rtol=0)


def test_one_term_explains_the_square_of_the_max_cosine():
    a, b = directions(30), directions(50, seed=1)
    m = max_cosines(a, b)[0].clamp_min(0)
    torch.testing.assert_close(decompose(a, b).r2[:, 0], m.square(), atol=1e-5, rtol=0)


def test_more_terms_never_explain_less_and_weights_are_not_negative():
    found = decompose(directions(200, d=12), directions(40, d=12, seed=1))
    assert (found.r2.diff(dim=1) > -1e-5).all()
    assert found.weights.min() >= 0


def test_weights_are_the_non_negative_least_squares_solution_on_the_chosen_directions():
    a, b = directions(40, d=10), directions(30, d=10, seed=1)
    found = decompose(a, b)
    for i in range(40):
        chosen = b[found.indices[i]].double().numpy()
        _, error = nnls(chosen.T, a[i].double().numpy())
        assert found.r2[i, -1].item() == pytest.approx(1 - error**2, abs=5e-3)


def test_the_opposite_direction_explains_nothing():
    a = torch.tensor([[1.0, 0.0, 0.0]])
    assert decompose(a, -a).r2.max() == 0


def test_copies_in_the_dictionary_do_no_harm():
    a = directions(3)
    found = decompose(a, a.repeat(4, 1))
    assert torch.isfinite(found.weights).all()
    assert (found.r2[:, -1] > 0.999).all()


def test_fewer_directions_than_terms_are_enough():
    a = directions(3)
    found = decompose(a, a[:2])
    assert found.r2.shape == (3, 4)
    assert found.r2[:2, -1] == pytest.approx(np.ones(2), abs=1e-4)


def test_nothing_to_explain():
    assert decompose(directions(0), directions(5)).r2.shape == (0, 4)


def test_explained_variance_equals_its_definition_about_the_mean():
    a, b = unit(directions(40) + directions(1, seed=3)), directions(60, seed=1)
    found = decompose(a, b)
    rebuilt = (found.weights[:, :, None] * b[found.indices]).sum(1).double()
    left, spread = (a - rebuilt).square().sum(), (a.double() - a.double().mean(0)).square().sum()
    assert explained_variance(a, found) == pytest.approx(float(1 - left / spread), abs=1e-4)
    assert explained_variance(b, decompose(b, b)) == pytest.approx(1, abs=1e-4)
