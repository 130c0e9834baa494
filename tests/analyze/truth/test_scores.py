"""Scores against a known truth, on dictionaries of which it is known what they found."""

import math

import numpy as np
import pytest
import torch

from analyze.compare.chance import Chance
from analyze.compare.decoder_null import decoder_null
from analyze.truth.scores import against_truth, by_rate, of_directions, quantiles_of
from tests.analyze.planted import codes, directions, orthogonal, rows_of, tied

TRUTH = orthogonal(8)


def everything(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.bool)


def test_a_dictionary_of_the_true_features_in_another_order_is_perfect() -> None:
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    found = against_truth(tied(TRUTH[order]), everything(8), TRUTH, np.full(8, 0.3), rows_of(codes(), TRUTH))
    for score in ("mmcs", "mmcs_corrected", "matched_mean", "recovered", "size_ratio"):
        assert found[score] == pytest.approx(1, abs=1e-6), score
    assert found["learned"]["mmcs_corrected"] == pytest.approx(1, abs=1e-6)
    assert [found["firing"][name]["0.05"] for name in ("precision", "recall", "f1", "mcc")] == [1, 1, 1, 1]
    assert found["structure"] is None
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
    found = against_truth(tied(TRUTH), alive, TRUTH, np.full(8, 0.3), rows_of(codes(), TRUTH))
    assert found["recovered"] == 0.25
    none = against_truth(tied(TRUTH), ~everything(8), TRUTH, np.full(8, 0.3), rows_of(codes(), TRUTH))
    assert none["recovered"] == 0
    assert none["recovery"] is None
    for name in ("mmcs", "mmcs_null", "mmcs_corrected", "mmcs_null_isotropic", "mmcs_corrected_isotropic"):
        assert math.isnan(none[name]), name
        assert math.isnan(none["learned"][name]), name
    assert math.isnan(none["matched_mean"])
    assert math.isnan(none["firing"]["f1"]["mean"])


def test_summaries_leave_out_what_is_not_a_number() -> None:
    assert quantiles_of(np.array([1.0, np.nan, 3.0]))["mean"] == 2


def test_features_are_grouped_by_rate_the_rarest_first() -> None:
    rates = np.logspace(0, -15, 16)
    bins = by_rate(rates, {"f1": np.arange(16) / 16, "cosine": np.where(np.arange(16) % 2, np.nan, 0.5)})
    assert [(b["from"], b["to"], b["count"]) for b in bins[:2]] == [(-15, -14, 2), (-13, -12, 2)]
    assert [b["f1"] for b in bins[-2:]] == [2.5 / 16, 0.5 / 16]
    assert {b["cosine"] for b in bins} == {0.5}
    assert len(by_rate(np.full(16, 0.1), {"f1": np.ones(16)})) == 1
