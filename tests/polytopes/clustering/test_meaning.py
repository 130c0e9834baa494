"""Clusters that say everything, nothing, or only the token, and entropies against those written out."""

from math import log2

import numpy as np
import pytest

from polytopes.clustering import meaning
from polytopes.clustering.meaning import beyond, conditional_entropy, gain, group_entropies, set_entropies


def draw(labels: int, rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(labels, size=rows)


def test_entropies_are_those_of_the_counts():
    group = np.array([7, 7, 7, 7, 2, 2, 9])
    label = np.array([1, 1, 5, 6, 3, 3, 0])
    np.testing.assert_allclose(group_entropies(group, label), [0, 1.5, 0], atol=1e-12)  # of groups 2, 7, 9
    assert conditional_entropy(group, label) == pytest.approx(1.5 * 4 / 7)
    sets = np.array([[0, 1, 4], [0, 1, 2]])
    np.testing.assert_allclose(set_entropies(sets, label), [log2(3) - 2 / 3] * 2)
    assert set_entropies(np.array([[4, 5]]), label).tolist() == [0.0]


def test_clusters_that_are_the_labels_have_gain_1():
    label = draw(5, 1000, seed=1)
    found = gain(label, label, seed=0)
    assert found is not None
    assert found.entropy == 0
    assert found.gain == 1
    assert found.permuted == pytest.approx(log2(5), abs=0.05)
    assert found.z is not None
    assert found.z > 100


def test_clusters_independent_of_the_labels_have_gain_0():
    for seed in range(5):
        found = gain(draw(30, 2000, seed=2 * seed), draw(200, 2000, seed=2 * seed + 1), seed)
        assert found is not None
        assert found.z is not None
        assert found.gain is not None
        assert abs(found.z) < 3
        assert abs(found.gain) < 0.01
        assert found.entropy < log2(200) - 1  # plug-in entropies are far too low: the null is needed


def test_random_clusters_within_tokens_say_nothing_beyond_the_token():
    token = draw(20, 3000, seed=3)
    cluster = token * 3 + draw(3, 3000, seed=4)  # each token in three clusters, at random
    prediction = (token * 7 + draw(4, 3000, seed=5)) % 50  # depends on the token, and on nothing that clusters know
    alone, past = gain(cluster, prediction, 0), beyond(cluster, prediction, token, 0)
    assert alone is not None
    assert past is not None
    assert alone.z is not None
    assert past.z is not None
    assert alone.z > 100  # the token itself predicts
    assert abs(past.z) < 3


def test_what_clusters_say_beyond_the_token_is_found():
    token, hidden = draw(20, 3000, seed=6), draw(2, 3000, seed=7)
    found = beyond(token * 2 + hidden, (token + 20 * hidden) % 40, token, 0)
    assert found is not None
    assert found.entropy == 0
    assert found.gain == pytest.approx(1)
    assert found.z is not None
    assert found.z > 50


def test_permuting_over_all_rows_would_fail_the_control(monkeypatch: pytest.MonkeyPatch):
    """The control stands on permuting within tokens."""
    token = draw(20, 3000, seed=3)
    cluster = token * 3 + draw(3, 3000, seed=4)
    prediction = (token * 7 + draw(4, 3000, seed=5)) % 50
    wrong = meaning._against_permuted(cluster, prediction, np.zeros_like(token), 0)
    assert wrong is not None
    assert wrong.z is not None
    assert wrong.z > 100


def test_noise_is_left_out_and_constant_labels_have_no_gain():
    cluster, label = draw(4, 300, seed=8), draw(4, 300, seed=9)
    noisy = np.concatenate([cluster, np.full(700, -1)])
    assert gain(noisy, np.concatenate([label, draw(4, 700, seed=10)]), 5) == gain(cluster, label, 5)
    assert gain(np.full(9, -1), draw(4, 9, seed=0), 0) is None
    constant = gain(cluster, np.zeros_like(cluster), 0)
    assert constant is not None
    assert constant.gain is None
    assert constant.z == 0
    one = gain(np.zeros(300, dtype=int), label, 0)
    assert one is not None
    assert one.gain == pytest.approx(0, abs=1e-12)
    assert one.z == 0
