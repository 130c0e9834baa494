"""Pairs of rows of one label and of two, between which lines are drawn.

Both rows of a pair come from different sequences. For the model's prediction their own tokens differ too, else the line
would be between two uses of one word.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from polytopes.reading.rows import Rows
from winnow.errors import UserError

PER_LABEL = 40  # pairs of one label, at most
DIFFERENT = 40_000  # pairs of different labels, from which those of equal length are taken


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, [pair] each; label: of the first row."""

    first: Int64[Tensor, " pair"]
    second: Int64[Tensor, " pair"]
    label: Int64[Tensor, " pair"]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class LabelledPairs:
    same: Pairs
    different: Pairs


def draw_pairs(rows: Rows, label: str, labels: Tensor, count: int, random: np.random.Generator) -> LabelledPairs:
    """Draw at most `count` pairs of one label, at most 40 of each, and 40,000 of different labels.

    label: its name, prediction, token or next; labels: of every row, by which pairs are drawn: the label itself, or,
    as a control, permuted. −1 is no label.
    Raises `UserError` where no two rows are of one label.
    """
    sequence, token = rows.places.sequence.numpy(), rows.token.numpy()
    of_row = labels.numpy().astype(np.int64)

    def fits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        apart = sequence[first] != sequence[second]
        return apart & (token[first] != token[second]) if label == "prediction" else apart

    found: list[np.ndarray] = []
    for value in random.permutation(np.unique(of_row[of_row >= 0])):
        inside = np.flatnonzero(of_row == value)
        if len(inside) < 2:
            continue
        first, second = random.integers(len(inside), size=(2, 4 * PER_LABEL))
        low, high = np.minimum(first, second), np.maximum(first, second)
        pairs = inside[np.unique(np.stack([low, high])[:, low < high], axis=1)]
        pairs = pairs[:, fits(*pairs)]
        found.append(random.permutation(pairs, axis=1)[:, :PER_LABEL])
    same = np.concatenate(found, 1) if found else np.zeros((2, 0), dtype=np.int64)
    if not same.shape[1]:
        raise UserError(f"polytopes.rows = {len(rows):,}: no two rows of one {label} can be paired; choose more rows")
    same = np.sort(random.permutation(same.shape[1])[:count]) if same.shape[1] > count else np.arange(same.shape[1])
    same = np.concatenate(found, 1)[:, same]
    usable = np.flatnonzero(of_row >= 0)
    first, second = usable[random.integers(len(usable), size=(2, DIFFERENT))]
    kept = (of_row[first] != of_row[second]) & fits(first, second)
    return LabelledPairs(_pairs(same, of_row), _pairs(np.stack([first, second])[:, kept], of_row))


def _pairs(pairs: np.ndarray, of_row: np.ndarray) -> Pairs:
    first, second = torch.from_numpy(np.ascontiguousarray(pairs)).long()
    return Pairs(first, second, torch.from_numpy(of_row[first.numpy()]))


def permuted(labels: Tensor, random: np.random.Generator) -> Tensor:
    """Permute labels over rows: each is as frequent as before, and means nothing."""
    return labels[torch.from_numpy(random.permutation(len(labels)))]
