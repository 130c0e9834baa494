"""Places in the text: which positions of which sequences are looked at.

Rows are taken from the held-out sequences first; if those have too few, from the harvested ones too, evenly spaced.
"""

from dataclasses import dataclass

import h5py
import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from winnow.config.positions import PositionPolicy
from winnow.errors import UserError
from winnow.positions import kept_positions
from winnow.tokens import TokenFile


@dataclass(frozen=True)
class Places:
    """Positions in sequences, ascending."""

    sequence: Int32[Tensor, " row"]
    position: Int32[Tensor, " row"]

    def __len__(self) -> int:
        return len(self.sequence)

    def take(self, chosen: Tensor) -> "Places":
        """Keep some rows; their order must be ascending."""
        return Places(self.sequence[chosen], self.position[chosen])


def choose_places(
    tokens: TokenFile, sequences: np.ndarray, policy: PositionPolicy, count: int, seed: int, key: str
) -> Places:
    """Choose `count` places from sequences, which are gone through in the order given.

    Raises `UserError` naming the setting `key` where these sequences hold fewer.
    """
    chosen = [np.zeros((2, 0), dtype=np.int64)]
    found = 0
    with h5py.File(tokens.path) as file:
        stored = file["tokens"]
        for sequence in sequences:
            if found >= count:
                break
            read = np.asarray(stored[sequence : sequence + 1])  # type: ignore[index]
            positions = np.flatnonzero(kept_positions(policy, read, int(sequence), seed)[0])
            chosen.append(np.stack([np.full_like(positions, sequence), positions]))
            found += len(positions)
    if found < count:
        raise UserError(
            f"{key} = {count:,}: the {len(sequences):,} sequences that they come from in {tokens.path} hold {found:,}; "
            "choose fewer, or other polytopes.positions"
        )
    sequence, position = np.concatenate(chosen, 1)[:, :count]
    order = np.lexsort((position, sequence))
    return Places(*(torch.from_numpy(column[order].astype(np.int32)) for column in (sequence, position)))


def held_out_first(sequences: int, first_held_out: int) -> np.ndarray:
    """List all sequences: the held-out ones, then the harvested ones such that any first part is spread evenly."""
    bits = max(1, (first_held_out - 1).bit_length())
    spread = sorted(range(first_held_out), key=lambda number: int(f"{number:0{bits}b}"[::-1], 2))
    return np.array([*range(first_held_out, sequences), *spread], dtype=np.int64)
