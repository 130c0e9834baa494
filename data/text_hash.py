"""Hash the documents that tokens were made of, so that a text is known again wherever it lies.

The hash of a document is added to that of all before it: an interrupted reading goes on from the hash alone. Only those
count that the tokens asked for need: how many more are read depends on how reading was interrupted.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data.source import Document

EMPTY = hashlib.sha256(b"").hexdigest()  # of no documents


class TextHash(NamedTuple):
    """The hash of the first documents of a text, their number, and that of their tokens, separators included."""

    sha256: str = EMPTY
    documents: int = 0
    tokens: int = 0

    def add(self, documents: Sequence[Document], lengths: Iterable[int], enough: int) -> "TextHash":
        """Add documents, which have so many tokens each, until there are enough tokens."""
        found = self
        for document, length in zip(documents, lengths, strict=True):
            if found.tokens >= enough:
                break
            found = TextHash(add_document(found.sha256, document), found.documents + 1, found.tokens + length)
        return found


def add_document(before: str, document: Document) -> str:
    """Add a document to a hash; its content counts, not the file that it stands in."""
    content = document if isinstance(document, str) else json.dumps(document, sort_keys=True, default=str)
    own = hashlib.sha256(f"{type(document).__name__} {content}".encode()).digest()
    return hashlib.sha256(bytes.fromhex(before) + own).hexdigest()
