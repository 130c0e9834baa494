"""Find the n-grams of one text in another, by their hashes; both texts are arrays of token ids.

    wanted = Ngrams(held_out, 16)
    wanted.find(training)              # where an n-gram of `held_out` begins in `training`, and which it is
    for first, piece in overlapping(tokens.read, 0, tokens.sequences, tokens.bos, 15): ...

An n-gram is hashed to 64 bits: the tokens, mixed, are the digits of a number in an odd base, modulo 2^64. Hashes of
windows are built by doubling, so n costs log n passes. Memory is that of the wanted n-grams; the other text may be of
any length, a piece at a time. A wrong match among a million wanted n-grams and ten billion tokens has a chance of one
in two thousand.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt64

BASE = 0x9E3779B97F4A7C15  # odd
CHUNK = 2**15  # tokens hashed at a time: what is computed of them stays in the cache
PIECE = 2**22  # tokens read at a time
TABLE_BITS = (16, 26)  # of the table that excludes most hashes: 64 kB to 64 MiB
CELLS_PER_NGRAM = 64


class Found(NamedTuple):
    """Places in a text where a wanted n-gram begins, ascending, and the index of that n-gram in `Ngrams.hashes`."""

    starts: Int[np.ndarray, " found"]
    indices: Int[np.ndarray, " found"]


class Ngrams:
    """The distinct n-grams of a text: their `hashes`, ascending, and how often each occurs (`counts`)."""

    def __init__(self, text: Int[np.ndarray, " token"], n: int) -> None:
        self.n = n
        self.hashes, self.counts = np.unique(ngram_hashes(text, n), return_counts=True)
        least, most = TABLE_BITS
        bits = min(most, max(least, (CELLS_PER_NGRAM * len(self.hashes)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(2**bits, dtype=bool)
        self._table[(self.hashes >> self._shift).astype(np.int64)] = True

    def find(self, text: Int[np.ndarray, " token"]) -> Found:
        """Find every place in `text` where one of the n-grams begins."""
        starts, indices = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for first in range(0, len(text) - self.n + 1, CHUNK):
            hashes = ngram_hashes(text[first : first + CHUNK + self.n - 1], self.n)
            likely = np.flatnonzero(self._table.take((hashes >> self._shift).view(np.int64)))
            place = np.searchsorted(self.hashes, hashes[likely])
            same = self.hashes.take(place, mode="clip") == hashes[likely] if len(self.hashes) else np.zeros(0, bool)
            starts.append(likely[same] + first)
            indices.append(place[same])
        return Found(np.concatenate(starts), np.concatenate(indices))


def ngram_hashes(text: Int[np.ndarray, " token"], n: int) -> UInt64[np.ndarray, " start"]:
    """Hash the n-gram that begins at each token of `text`, but for the last n - 1."""
    if len(text) < n:
        return np.empty(0, np.uint64)
    window, size = _mixed(text), 1  # hashes of the windows of `size` tokens
    hashes, length = None, 0  # of the first `length` tokens of each n-gram
    while True:
        if n & size:
            hashes = window if hashes is None else _joined(hashes, window[length:], size)
            length += size
        if length == n:
            assert hashes is not None
            return hashes
        window, size = _joined(window, window[size:], size), 2 * size


def overlapping(
    read: Callable[[int, int], Int[np.ndarray, "sequence context"]], start: int, stop: int, bos: int, overlap: int
) -> Iterator[tuple[int, Int[np.ndarray, " token"]]]:
    """Yield the text of sequences [start, stop) in pieces, each after the last `overlap` tokens of what came before.

    Each piece comes with the place of its first token in the whole text.
    """
    tail, place = np.empty(0, np.int32), 0
    step: int | None = None
    while start < stop:
        part = read(start, min(stop, start + (step or 1)))
        step = step or max(1, PIECE // max(1, part.shape[1]))
        start += len(part)
        piece = np.concatenate([tail, text_of(part, bos)])
        yield place - len(tail), piece
        place += len(piece) - len(tail)
        tail = piece[len(piece) - min(overlap, len(piece)) :]


def text_of(sequences: Int[np.ndarray, "sequence context"], bos: int) -> Int[np.ndarray, " token"]:
    """Join packed sequences to the text that they were cut from; `bos`: the token before each of them, -1 for none."""
    return sequences[:, int(bos >= 0) :].reshape(-1)


def _joined(
    left: UInt64[np.ndarray, " left"], right: UInt64[np.ndarray, " start"], size: int
) -> UInt64[np.ndarray, " start"]:
    """Hash windows of which `left` is the beginning and `right` the last `size` tokens; `left` may be the longer."""
    hashes = left[: len(right)] * np.uint64(pow(BASE, size, 2**64))
    hashes += right
    return hashes


def _mixed(text: Int[np.ndarray, " token"]) -> UInt64[np.ndarray, " token"]:
    """Spread each token over 64 bits (the finaliser of splitmix64)."""
    x = (text.astype(np.int64) + 1).view(np.uint64)
    x *= np.uint64(BASE)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
