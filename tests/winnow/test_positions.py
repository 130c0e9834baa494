from typing import Any

import numpy as np
import pytest

from winnow.config.positions import PositionPolicy
from winnow.positions import kept_positions, most_per_sequence

CONTEXT = 20
TOKENS = np.arange(6 * CONTEXT, dtype=np.int32).reshape(6, CONTEXT) % 23


def kept(first: int = 0, seed: int = 0, tokens: np.ndarray = TOKENS, **policy) -> np.ndarray:
    return kept_positions(PositionPolicy(**policy), tokens, first, seed)


def test_all():
    assert kept().all()


def test_skip_first():
    assert (kept(skip_first=3) == (np.arange(CONTEXT) >= 3)).all()


def test_evenly_spreads_over_what_is_left():
    mask = kept(skip_first=8, evenly=3)
    assert [np.flatnonzero(row).tolist() for row in mask] == [[10, 14, 18]] * 6


def test_the_published_gpt2_small_setting_keeps_six_of_1024_beyond_the_first_hundred():
    mask = kept(tokens=np.zeros((1, 1024), np.int32), skip_first=100, evenly=6)
    places = np.flatnonzero(mask)
    assert len(places) == 6
    assert places[0] >= 100
    assert np.ptp(np.diff(places)) <= 1


def test_dropped_tokens_are_dropped():
    assert (kept(drop_tokens=[5, 7]) == ~np.isin(TOKENS, [5, 7])).all()


def test_random_depends_on_the_sequences_number_and_the_seed_alone():
    whole = kept(random=4)
    assert (whole.sum(1) == 4).all()
    assert (whole[2:4] == kept(first=2, tokens=TOKENS[2:4], random=4)).all()
    assert (whole != kept(seed=1, random=4)).any()
    assert len({row.tobytes() for row in whole}) > 1


def test_random_draws_every_allowed_position_about_equally_often():
    mask = kept(tokens=np.zeros((4000, CONTEXT), np.int32), skip_first=5, random=3)
    counts = mask.sum(0)
    assert (counts[:5] == 0).all()
    assert np.abs(counts[5:] - 800).max() < 5 * np.sqrt(800)


@pytest.mark.parametrize("policy", [{"evenly": 4}, {"random": 4}])
def test_a_sequence_with_too_few_allowed_positions_keeps_them_all(policy: dict[str, Any]):
    tokens = np.zeros((1, CONTEXT), np.int32)
    tokens[0, [3, 9]] = 1
    assert np.flatnonzero(kept(tokens=tokens, drop_tokens=[0], **policy)).tolist() == [3, 9]


@pytest.mark.parametrize(
    "policy", [{}, {"skip_first": 4}, {"evenly": 5}, {"random": 5, "skip_first": 2}, {"drop_tokens": [3]}]
)
def test_no_sequence_keeps_more_than_the_plan_says(policy: dict[str, Any]):
    assert kept(**policy).sum(1).max() <= most_per_sequence(PositionPolicy(**policy), CONTEXT)
