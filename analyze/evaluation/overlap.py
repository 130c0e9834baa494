"""Measure how much of the held-out text also stands in the text that was harvested.

    shared_ngrams(tokens, harvested=4559, held_out=128)      # {"16": 0.094, "64": 0.015}

Both are texts as they were before they were cut into sequences, so a copy that was cut elsewhere counts. The harvested
text is read a piece at a time.
"""

from typing import Any

import numpy as np

from winnow.ngrams import Ngrams, overlapping, text_of
from winnow.tokens import TokenFile

SIZES = (16, 64)  # a phrase, and a paragraph


def shared_ngrams(tokens: TokenFile, harvested: int, held_out: int) -> dict[str, float | None]:
    """Compute the share of n-grams in the last `held_out` sequences that occur in the first `harvested`.

    An n-gram that occurs several times counts as often. None where the held-out text is shorter than n.
    """
    text = text_of(tokens.read(tokens.sequences - held_out, tokens.sequences), tokens.bos)
    wanted = {n: Ngrams(text, n) for n in SIZES}
    found = {n: np.zeros(len(ngrams.hashes), dtype=bool) for n, ngrams in wanted.items()}
    for _, piece in overlapping(tokens.read, 0, harvested, tokens.bos, max(SIZES) - 1):
        for n, ngrams in wanted.items():
            found[n][ngrams.find(piece).indices] = True
    return {str(n): _share(ngrams.counts, found[n]) for n, ngrams in wanted.items()}


def _share(counts: Any, found: Any) -> float | None:
    return float(counts[found].sum() / counts.sum()) if len(counts) else None
