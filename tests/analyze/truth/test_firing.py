"""How well a latent's firing predicts a feature's, on latents of which it is known."""

import numpy as np
import pytest
import torch

from analyze.truth.firing import count_firing, firing
from tests.analyze.planted import codes, directions, orthogonal, rows_of, tied
from winnow.config.toy import ToySettings
from winnow.toy.data import ToyData

TRUTH = orthogonal(8)


def test_a_latent_that_two_features_share_is_half_precise_and_one_with_a_threshold_misses_the_small() -> None:
    true = torch.zeros(10, 3)
    true[:4, 0], true[4:8, 1], true[8:, 2] = 1.0, torch.tensor([1.0, 1, 5, 5]), 1.0
    dictionary = tied(torch.stack([TRUTH[0] + TRUTH[2], TRUTH[1]]))
    dictionary.b_enc[1] -= 2
    found = firing(count_firing(dictionary, torch.tensor([0, 1, 0]), rows_of(true, TRUTH[:3])))
    np.testing.assert_allclose(found.precision, [4 / 6, 1, 2 / 6])
    np.testing.assert_allclose(found.recall, [1, 0.5, 1])
    np.testing.assert_allclose(found.f1, [0.8, 2 / 3, 0.5])


def test_features_and_latents_that_never_fire_have_no_score() -> None:
    true = codes(20, 3)
    true[:, 2] = 0
    dictionary = tied(torch.stack([TRUTH[0], TRUTH[5]]))
    found = firing(count_firing(dictionary, torch.tensor([0, 1, 1]), rows_of(true, TRUTH[:3])))
    np.testing.assert_array_equal(found.precision, [1, np.nan, np.nan])
    np.testing.assert_array_equal(found.recall, [1, 0, np.nan])
    np.testing.assert_array_equal(found.f1, [1, 0, np.nan])


def test_the_portions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = ToyData(ToySettings(d_model=16, n_features=24, active=3.0, decay=0.9))
    rows = toy.rows(100, 400)
    dictionary = tied(directions(20, 16))
    whole = firing(count_firing(dictionary, torch.arange(24) % 20, rows))
    monkeypatch.setattr("analyze.truth.firing.CELLS", 7 * 20)
    for a, b in zip(whole, firing(count_firing(dictionary, torch.arange(24) % 20, rows)), strict=True):
        np.testing.assert_array_equal(a, b)
    fires, true = dictionary.encode(rows.activations)[:, torch.arange(24) % 20] > 0, rows.codes(24) > 0
    np.testing.assert_array_equal(whole.recall, ((fires & true).sum(0).double() / true.sum(0)).numpy())


def test_matthews_coefficient_is_the_correlation_of_the_two_firings() -> None:
    toy = ToyData(ToySettings(d_model=16, n_features=24, active=3.0, decay=0.9))
    rows = toy.rows(0, 500)
    dictionary, partners = tied(directions(20, 16)), torch.arange(24) % 20
    fires, true = dictionary.encode(rows.activations)[:, partners] > 0, rows.codes(24) > 0
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(fires.T.numpy(), true.T.numpy(), strict=True)]
    np.testing.assert_allclose(firing(count_firing(dictionary, partners, rows)).mcc, expected, atol=1e-12)


def test_a_latent_that_fires_at_random_has_an_f1_but_no_correlation() -> None:
    true = codes(20_000, 2, 0.5)
    dictionary = tied(TRUTH[1:2])
    found = firing(count_firing(dictionary, torch.tensor([0, 0]), rows_of(true, TRUTH[:2])))
    assert found.f1[0] == pytest.approx(0.5, abs=0.02)
    assert found.mcc[0] == pytest.approx(0, abs=0.03)
    assert found.mcc[1] == pytest.approx(1)
