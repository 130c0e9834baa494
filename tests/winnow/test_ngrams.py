"""N-grams of one text are found in another, wherever it is cut into pieces."""

import numpy as np
import pytest

from winnow.ngrams import CHUNK, Ngrams, ngram_hashes, overlapping, text_of


def naive(wanted, text, n):
    known = {tuple(wanted[i : i + n]) for i in range(len(wanted) - n + 1)}
    return [i for i in range(len(text) - n + 1) if tuple(text[i : i + n]) in known]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 13, 16, 64])
def test_shared_ngrams_are_those_that_a_comparison_of_all_finds(n):
    random = np.random.default_rng(n)
    wanted = random.integers(0, 3, 300).astype(np.int32)
    text = random.integers(0, 3, 2000).astype(np.int32)
    text[700:900] = wanted[50:250]
    found = Ngrams(wanted, n).find(text)
    assert found.starts.tolist() == naive(wanted.tolist(), text.tolist(), n)
    assert set(range(700, 900 - n + 1)) <= set(found.starts.tolist())


def test_what_is_found_is_named_and_counted():
    wanted = np.array([5, 6, 7, 5, 6, 8], np.int32)
    ngrams = Ngrams(wanted, 2)
    assert sorted(ngrams.counts.tolist()) == [1, 1, 1, 2]
    found = ngrams.find(np.array([5, 6, 9], np.int32))
    assert ngrams.counts[found.indices].tolist() == [2]


def test_places_around_the_borders_of_chunks_are_found():
    text = np.random.default_rng(0).integers(0, 50_000, 3 * CHUNK + 100).astype(np.int32)
    places = [0, CHUNK - 16, CHUNK - 15, CHUNK - 1, CHUNK, 2 * CHUNK - 8, len(text) - 16]
    wanted = np.concatenate([text[place : place + 16] for place in places])
    assert Ngrams(wanted, 16).find(text).starts.tolist() == places


@pytest.mark.parametrize("wanted", [0, 5])
def test_a_text_shorter_than_an_ngram_has_none(wanted):
    short, text = np.arange(wanted, dtype=np.int32), np.arange(100, dtype=np.int32)
    assert len(Ngrams(short, 8).hashes) == 0
    assert len(Ngrams(short, 8).find(text).starts) == 0
    assert len(Ngrams(text, 8).find(short).starts) == 0
    assert ngram_hashes(short, 8).shape == (0,)


def test_order_and_place_of_tokens_count():
    a, b = np.array([[1, 2, 3, 4], [4, 3, 2, 1]], np.int32)
    assert ngram_hashes(a, 4) != ngram_hashes(b, 4)
    same = ngram_hashes(np.array([9, 1, 2, 3, 4, 0], np.int32), 4)[1]
    assert same == ngram_hashes(a, 4)[0]


@pytest.mark.parametrize("piece", [1, 40, 10_000])
@pytest.mark.parametrize("bos", [-1, 7])
def test_pieces_overlap_so_that_each_ngram_is_seen_once(monkeypatch, piece, bos):
    monkeypatch.setattr("winnow.ngrams.PIECE", piece)
    sequences = np.random.default_rng(1).integers(10, 90, (30, 8)).astype(np.int32)
    sequences[:, 0] = 7 if bos >= 0 else sequences[:, 0]
    whole = text_of(sequences, bos)
    assert len(whole) == 30 * (8 - (bos >= 0))
    seen = []
    for place, part in overlapping(lambda a, b: sequences[a:b], 0, 30, bos, 15):
        assert np.array_equal(part, whole[place : place + len(part)])
        seen += list(range(place, place + len(part) - 15))
    assert seen == list(range(len(whole) - 15))
