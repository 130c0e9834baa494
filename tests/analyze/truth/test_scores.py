"""Scores against a known truth, on dictionaries of which it is known what they found."""

import math

import numpy as np
import pytest
import torch

from analyze.compare.chance import Chance
from analyze.compare.decoder_null import decoder_null
from analyze.truth.scores import against_truth, by_rate, firing, of_directions, quantiles_of
from tests.analyze.planted import directions, orthogonal, tied
from winnow.config.toy import ToySettings
from winnow.toy.data import ToyData, ToyRows

TRUTH = orthogonal(8)


def rows_of(codes: torch.Tensor, truth: torch.Tensor = TRUTH) -> ToyRows:
    """Sum the directions of codes [row, feature]; features ascend within a row."""
    counts = (codes > 0).sum(1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return ToyRows(codes @ truth, offsets, torch.nonzero(codes)[:, 1], codes[codes > 0])


def codes(rows: int = 400, features: int = 8, rate: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    on = torch.rand(rows, features, generator=generator) < rate
    return on * (1 + torch.rand(rows, features, generator=generator))


def everything(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.bool)


def test_a_dictionary_of_the_true_features_in_another_order_is_perfect() -> None:
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    found = against_truth(tied(TRUTH[order]), everything(8), TRUTH, np.full(8, 0.3), rows_of(codes()))
    for score in ("mmcs", "mmcs_corrected", "matched_mean", "recovered", "size_ratio"):
        assert found[score] == pytest.approx(1, abs=1e-6), score
    assert found["learned"]["mmcs_corrected"] == pytest.approx(1, abs=1e-6)
    assert [found["firing"][name]["0.05"] for name in ("precision", "recall", "f1")] == [1, 1, 1]
    (rate,) = found["by_firing_rate"]
    assert rate["from"] == rate["to"] == pytest.approx(math.log10(0.3))
    assert (rate["count"], rate["f1"]) == (8, 1)
    assert rate["cosine"] == pytest.approx(1, abs=1e-6)


def test_half_of_the_features_are_half_of_the_scores_and_all_of_them_from_the_other_side() -> None:
    found = of_directions(TRUTH, TRUTH[:4])
    assert found["mmcs"] == pytest.approx(0.5, abs=1e-6)  # the other four are orthogonal to all
    assert found["recovered"] == 0.5
    assert found["recovery"]["shares"][[1, -2]].tolist() == [0.5, 0.5]
    assert found["learned"]["mmcs"] == pytest.approx(1, abs=1e-6)
    assert found["matched_mean"] == pytest.approx(1, abs=1e-6)
    null = decoder_null(TRUTH, TRUTH[:4]).mean
    assert found["mmcs_null"] == null
    assert found["mmcs_corrected"] == pytest.approx((0.5 - null) / (1 - null), abs=1e-6)
    assert found["learned"]["mmcs_null"] == decoder_null(TRUTH[:4], TRUTH).mean
    assert found["mmcs_null_isotropic"] == Chance(32, 4).mean
    assert found["learned"]["mmcs_null_isotropic"] == Chance(32, 8).mean


def test_random_directions_are_at_chance() -> None:
    found = of_directions(directions(200, 24), directions(500, 24, seed=1))
    assert found["mmcs_corrected"] == pytest.approx(0, abs=0.02)
    assert found["learned"]["mmcs_corrected"] == pytest.approx(0, abs=0.02)


def test_copies_are_told_from_a_match() -> None:
    found = of_directions(TRUTH, TRUTH[:1].expand(8, 32))
    assert found["learned"]["mmcs"] == pytest.approx(1, abs=1e-6)
    assert found["mmcs"] == found["matched_mean"] == pytest.approx(1 / 8, abs=1e-6)


def test_dead_latents_find_nothing() -> None:
    alive = torch.arange(8) < 2
    found = against_truth(tied(TRUTH), alive, TRUTH, np.full(8, 0.3), rows_of(codes()))
    assert found["recovered"] == 0.25
    none = against_truth(tied(TRUTH), ~everything(8), TRUTH, np.full(8, 0.3), rows_of(codes()))
    assert none["recovered"] == 0
    assert none["recovery"] is None
    for name in ("mmcs", "mmcs_null", "mmcs_corrected", "mmcs_null_isotropic", "mmcs_corrected_isotropic"):
        assert math.isnan(none[name]), name
        assert math.isnan(none["learned"][name]), name
    assert math.isnan(none["matched_mean"])
    assert math.isnan(none["firing"]["f1"]["mean"])


def test_a_latent_that_two_features_share_is_half_precise_and_one_with_a_threshold_misses_the_small() -> None:
    true = torch.zeros(10, 3)
    true[:4, 0], true[4:8, 1], true[8:, 2] = 1.0, torch.tensor([1.0, 1, 5, 5]), 1.0
    dictionary = tied(torch.stack([TRUTH[0] + TRUTH[2], TRUTH[1]]))
    dictionary.b_enc[1] -= 2
    found = firing(dictionary, torch.tensor([0, 1, 0]), rows_of(true, TRUTH[:3]))
    np.testing.assert_allclose(found.precision, [4 / 6, 1, 2 / 6])
    np.testing.assert_allclose(found.recall, [1, 0.5, 1])
    np.testing.assert_allclose(found.f1, [0.8, 2 / 3, 0.5])


def test_features_and_latents_that_never_fire_have_no_score() -> None:
    true = codes(20, 3)
    true[:, 2] = 0
    dictionary = tied(torch.stack([TRUTH[0], TRUTH[5]]))
    found = firing(dictionary, torch.tensor([0, 1, 1]), rows_of(true, TRUTH[:3]))
    np.testing.assert_array_equal(found.precision, [1, np.nan, np.nan])
    np.testing.assert_array_equal(found.recall, [1, 0, np.nan])
    np.testing.assert_array_equal(found.f1, [1, 0, np.nan])


def test_the_portions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = ToyData(ToySettings(d_model=16, n_features=24, active=3.0, decay=0.9))
    rows = toy.rows(100, 400)
    dictionary = tied(directions(20, 16))
    whole = firing(dictionary, torch.arange(24) % 20, rows)
    monkeypatch.setattr("analyze.truth.scores.CELLS", 7 * 20)
    for a, b in zip(whole, firing(dictionary, torch.arange(24) % 20, rows), strict=True):
        np.testing.assert_array_equal(a, b)
    fires, true = dictionary.encode(rows.activations)[:, torch.arange(24) % 20] > 0, rows.codes(24) > 0
    np.testing.assert_array_equal(whole.recall, ((fires & true).sum(0).double() / true.sum(0)).numpy())


def test_summaries_leave_out_what_is_not_a_number() -> None:
    assert quantiles_of(np.array([1.0, np.nan, 3.0]))["mean"] == 2


def test_features_are_grouped_by_rate_the_rarest_first() -> None:
    rates = np.logspace(0, -15, 16)
    bins = by_rate(rates, {"f1": np.arange(16) / 16, "cosine": np.where(np.arange(16) % 2, np.nan, 0.5)})
    assert [(b["from"], b["to"], b["count"]) for b in bins[:2]] == [(-15, -14, 2), (-13, -12, 2)]
    assert [b["f1"] for b in bins[-2:]] == [2.5 / 16, 0.5 / 16]
    assert {b["cosine"] for b in bins} == {0.5}
    assert len(by_rate(np.full(16, 0.1), {"f1": np.ones(16)})) == 1
