"""How much of the held-out text stands in the harvested text is what a comparison of all n-grams finds."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from analyze.evaluation.overlap import shared_ngrams
from winnow.tokens import TokenFile

CONTEXT, HELD_OUT = 32, 6


def token_file(folder: Path, sequences: np.ndarray, bos: int = -1) -> TokenFile:
    with h5py.File(folder / "tokens.h5", "w") as file:
        file["tokens"] = sequences.astype(np.int32)
    return TokenFile(folder / "tokens.h5", len(sequences), sequences.shape[1], "f", "t", "x", bos)


def naive(held_out: np.ndarray, harvested: np.ndarray, n: int) -> float:
    known = {tuple(harvested[i : i + n]) for i in range(len(harvested) - n + 1)}
    grams = [tuple(held_out[i : i + n]) for i in range(len(held_out) - n + 1)]
    return sum(gram in known for gram in grams) / len(grams)


@pytest.mark.parametrize("bos", [-1, 0])
@pytest.mark.parametrize("piece", [40, 2**22])
def test_shares_are_those_of_a_naive_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bos: int, piece: int):
    monkeypatch.setattr("winnow.ngrams.PIECE", piece)
    random = np.random.default_rng(0)
    width = CONTEXT - (bos >= 0)
    text = random.integers(1, 5000, 40 * width)
    held_out = (40 - HELD_OUT) * width
    text[77 : 77 + 90] = text[held_out + 10 : held_out + 100]  # cut elsewhere, over several sequences
    text[500:520] = text[held_out + 120 : held_out + 140]
    sequences = text.reshape(40, width)
    if bos >= 0:
        sequences = np.concatenate([np.full((40, 1), bos), sequences], axis=1)
    found = shared_ngrams(token_file(tmp_path, sequences, bos), 40 - HELD_OUT, HELD_OUT)
    assert found["16"] == pytest.approx(naive(text[held_out:], text[:held_out], 16))
    assert found["64"] == pytest.approx(naive(text[held_out:], text[:held_out], 64))
    assert (found["16"] or 0) > (found["64"] or 0) > 0


def test_text_that_is_all_new_shares_nothing_and_a_copy_everything(tmp_path: Path):
    new = np.arange(1280).reshape(40, 32)
    assert shared_ngrams(token_file(tmp_path, new), 34, 6) == {"16": 0, "64": 0}
    assert shared_ngrams(token_file(tmp_path, np.concatenate([new[:34], new[20:26]])), 34, 6) == {"16": 1, "64": 1}
    # what was held out at the harvest, but is not evaluated, was not harvested either
    assert shared_ngrams(token_file(tmp_path, np.concatenate([new[:34], new[38:40], new[38:40]])), 34, 2)["16"] == 0


def test_a_repeated_ngram_counts_as_often_as_it_occurs(tmp_path: Path):
    sequences = np.concatenate([np.full((4, 32), 7), np.arange(64).reshape(2, 32) + 100, np.full((2, 32), 7)])
    found = shared_ngrams(token_file(tmp_path, sequences), 4, 4)["16"]
    assert found == pytest.approx((64 - 15) / (128 - 15))


def test_a_text_shorter_than_the_ngram_has_no_share(tmp_path: Path):
    assert shared_ngrams(token_file(tmp_path, np.arange(96).reshape(3, 32)), 2, 1) == {"16": 0, "64": None}
