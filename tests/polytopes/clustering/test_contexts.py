"""Which clusters are shown, and with which places."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from polytopes.clustering.contexts import choose_contexts, context, telling_clusters


def test_p_is_that_of_drawing_rows_at_random():
    cluster = np.array([0] * 6 + [1] * 5 + [-1] * 89)
    label = np.array([7] * 6 + [1, 1, 2, 3, 4] + [9] * 80 + [7] * 9)
    first, second = telling_clusters(cluster, label)
    assert (first.cluster, first.rows, first.label, first.share) == (0, 6, 7, 1.0)
    assert first.log10_p == pytest.approx(np.log10(hypergeom.pmf(6, 100, 15, 6) * 6))
    assert (second.cluster, second.label, second.share) == (1, 1, 0.4)
    assert first.log10_p < second.log10_p <= 0
    assert telling_clusters(cluster, label, most=1) == [first]
    assert telling_clusters(np.full(5, -1), label[:5]) == []


def test_a_cluster_of_what_all_rows_have_tells_nothing():
    cluster = np.where(np.arange(100) < 10, 0, 1)
    assert [told.log10_p for told in telling_clusters(cluster, np.zeros(100, dtype=int))] == [0, 0]
    usual = np.where(np.arange(100) % 10 == 0, 5, 0)  # in nine of ten rows, and in nine of the cluster's ten
    assert telling_clusters(cluster, usual)[0].log10_p > -1


def test_contexts_come_from_different_sequences_where_there_are_enough():
    sequence = np.repeat(np.arange(8), 3)
    many = choose_contexts(np.arange(24), sequence, np.random.default_rng(0))
    assert len({int(sequence[row]) for row in many}) == len(many) == 6
    few = choose_contexts(np.arange(9), sequence, np.random.default_rng(0))
    assert sorted(sequence[few].tolist()) == [0, 0, 1, 1, 2, 2]
    assert few == sorted(few)
    assert choose_contexts(np.array([4]), sequence, np.random.default_rng(0)) == [4]
    assert many == choose_contexts(np.arange(24), sequence, np.random.default_rng(0))


def test_a_context_says_where_its_place_is():
    texts = [f"<{number}>" for number in range(100)]
    shown = context(np.arange(40), 30, texts)
    assert shown["tokens"][shown["at"]] == "<30>"
    assert shown["tokens"][0] == "<15>"
    assert shown["tokens"][-1] == "<35>"
    at_the_start = context(np.arange(40), 2, texts)
    assert at_the_start["tokens"][at_the_start["at"]] == "<2>"
    assert at_the_start["tokens"][0] == "<0>"
