"""The adjusted Rand index of clusterings that agree, that do not, and over how many rows."""

import numpy as np
import pytest

from polytopes.clustering.stability import agreement, stability_of_draws


def test_equal_clusterings_agree_whatever_their_numbers():
    first = np.array([0, 0, 1, 1, 2, 2, -1, 0])
    second = np.array([5, 5, 3, 3, 9, 9, 3, -1])
    assert agreement(first, second) == (1, 6 / 8)


def test_independent_clusterings_do_not_agree():
    generator = np.random.default_rng(0)
    found = agreement(generator.integers(8, size=2000), generator.integers(8, size=2000))
    assert found.share == 1
    assert found.ari == pytest.approx(0, abs=0.01)


def test_noise_is_not_a_cluster():
    assert agreement(np.full(9, -1), np.zeros(9, dtype=int)) == (None, 0)
    assert agreement(np.zeros(0, dtype=int), np.zeros(0, dtype=int)) == (None, 0)


def test_draws_are_compared_over_the_rows_in_both():
    label = np.random.default_rng(1).integers(6, size=500)
    seen: list[np.ndarray] = []

    def cluster_rows(drawn: np.ndarray) -> np.ndarray:
        seen.append(drawn)
        found = label[drawn].copy()
        found[drawn < 100] = -1  # a fifth is noise
        return found

    found = stability_of_draws(cluster_rows, 500, seed=0)
    assert [len(drawn) for drawn in seen] == [400, 400]
    both = np.intersect1d(seen[0], seen[1])
    assert len(both) < 400
    assert found == (1, np.mean(both >= 100))
    assert stability_of_draws(lambda drawn: np.random.default_rng(len(seen)).permutation(label[drawn]), 500, 0).ari != 1
