"""Join tokenised documents and cut them into sequences of one length.

Documents form one stream, with the model's end and start tokens between them, and the stream is cut every
`context` tokens. If the model was trained with BOS at the start, every sequence starts with BOS, which takes
one of its `context` places.
"""

from collections.abc import Iterable, Sequence

import numpy as np


class Packer:
    """Cut a stream of documents into int32 sequences [sequence, context], keeping the incomplete last one.

    `separator`: the tokens between two documents. `bos`: the token that starts every sequence, or None. `held`:
    the tokens that an earlier packer of the same stream kept.
    """

    def __init__(self, context: int, separator: Sequence[int], bos: int | None, held: Sequence[int] = ()) -> None:
        self.context = context
        self.separator = np.asarray(separator, dtype=np.int32)
        self.bos = bos
        self._held = np.asarray(held, dtype=np.int32)

    @property
    def held(self) -> tuple[int, ...]:
        """The tokens at the end of the stream that do not fill a sequence yet."""
        return tuple(self._held.tolist())

    def add(self, documents: Iterable[Sequence[int]]) -> np.ndarray:
        """Append documents, and return the sequences [sequence, context] that they complete."""
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
