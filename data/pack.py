"""Join tokenised documents and cut them into sequences of one length.

Documents follow one another in one stream with the model's end and start tokens between them, and the
stream is cut every `context` tokens. Where the model was trained so, every sequence starts with BOS,
which then takes one of its `context` places.
"""

from collections.abc import Iterable

import numpy as np


class Packer:
    """Cut a stream of documents into int32 sequences [sequence, context], holding back less than one.

    `separator` is what stands between two documents; `bos` is the token that starts every sequence, or
    None.
    """

    def __init__(self, context: int, separator: list[int], bos: int | None) -> None:
        self.context = context
        self.separator = np.asarray(separator, dtype=np.int32)
        self.bos = bos
        self._held = np.empty(0, dtype=np.int32)

    def add(self, documents: Iterable[list[int]]) -> np.ndarray:
        """Append documents, and return the sequences [sequence, context] that are now full."""
        pieces = [self._held]
        for document in documents:
            pieces += [np.asarray(document, dtype=np.int32), self.separator]
        stream = np.concatenate(pieces)
        width = self.context - (self.bos is not None)
        full = len(stream) // width
        self._held = stream[full * width :]
        body = stream[: full * width].reshape(full, width)
        if self.bos is None:
            return body
        return np.concatenate([np.full((full, 1), self.bos, dtype=np.int32), body], axis=1)
