"""Leave out sequences that share n-grams with the held-out ones, and take later ones in their place.

Sequences are those of the text as it is packed. The held-out ones are the last of the `text.tokens` that are asked for,
the same with and without this; before them stand those that are harvested. Where one of these overlaps an n-gram that
the held-out text has too, it is left out, and a sequence from behind the held-out ones takes its place. Which sequences
are chosen depends on the text alone, not on where reading was interrupted.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from winnow.config.experiment import TextSettings
from winnow.ngrams import Ngrams, overlapping, text_of


class Parts:
    """Sequences in several `.npy` files, int32 [sequence, context], read as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._ends = [0, *accumulate(len(np.load(path, mmap_mode="r")) for path in paths)]

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, start: int, stop: int) -> Int[np.ndarray, "sequence context"]:
        """Read sequences [start, stop); at least one."""
        spans = zip(self.paths, self._ends, self._ends[1:], strict=False)
        wanted = [(p, max(start - a, 0), min(stop, b) - a) for p, a, b in spans if a < stop and start < b]
        return np.concatenate([np.load(path, mmap_mode="r")[first:last] for path, first, last in wanted])


class Division(NamedTuple):
    """Which sequences are harvested, and which are held out behind them."""

    source: Parts
    harvested: Bool[np.ndarray, " sequence"]
    held_out: tuple[int, int]  # [start, stop)
    dropped: int
    missing: int  # sequences that text which is not read yet would have to give

    @property
    def sequences(self) -> int:
        """Number of sequences, with those held out."""
        return int(self.harvested.sum()) + self.held_out[1] - self.held_out[0]

    def parts(self) -> Iterator[Int[np.ndarray, "sequence context"]]:
        """Yield the sequences as `tokens.h5` has them."""
        start = 0
        for path in self.source.paths:
            part = np.load(path)
            yield part[self.harvested[start : start + len(part)]]
            start += len(part)
        yield self.source.read(*self.held_out)


def divide(paths: Sequence[Path], text: TextSettings, bos: int, ended: bool) -> Division:
    """Choose the sequences; `ended`: there is no more text. More sequences than are held out must be there."""
    sequences = Parts(paths)
    wanted = text.tokens // text.context
    stop = min(wanted, len(sequences))
    first = stop - text.held_out_sequences
    shared = sharing(sequences, (first, stop), text.drop_shared_ngrams, bos)
    settled = len(sequences)
    if not ended:  # of the last sequences it is not known yet what goes on behind them
        settled = max(stop, settled - reach(text, bos))
    kept = ~shared
    kept[first:stop] = False
    needed = wanted - text.held_out_sequences - int(kept[:first].sum())
    in_place = stop + np.flatnonzero(kept[stop:settled])[:needed]
    kept[stop:] = False
    kept[in_place] = True
    looked_at = settled if len(in_place) < needed else in_place[-1] + 1 if needed else stop
    dropped = int(shared[:first].sum()) + int(shared[stop:looked_at].sum())
    return Division(sequences, kept, (first, stop), dropped, needed - len(in_place))


def reach(text: TextSettings, bos: int) -> int:
    """Count the sequences behind one into which an n-gram that begins in it can go on."""
    width = text.context - (bos >= 0)
    return -(-(text.drop_shared_ngrams - 1) // width)


def sharing(sequences: Parts, held_out: tuple[int, int], n: int, bos: int) -> Bool[np.ndarray, " sequence"]:
    """Mark each sequence that overlaps an n-gram of the held-out text; the held-out ones are marked too."""
    wanted = Ngrams(text_of(sequences.read(*held_out), bos), n)
    width = sequences.read(0, 1).shape[1] - (bos >= 0)
    steps = np.zeros(len(sequences) + 1, np.int64)  # where a stretch of marked sequences begins, less where one ends
    for place, piece in overlapping(sequences.read, 0, len(sequences), bos, n - 1):
        starts = wanted.find(piece).starts + place
        np.add.at(steps, starts // width, 1)
        np.add.at(steps, (starts + n - 1) // width + 1, -1)
    return steps[:-1].cumsum() > 0
