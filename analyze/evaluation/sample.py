"""Sample harvested rows of a hook from the whole store; split rows into batches of bounded memory."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from winnow.massive.kept import KeptRows

ROWS = 16_384
BLOCKS = 32


def store_sample(kept: KeptRows, rows: int = ROWS) -> Float[Tensor, "row width"]:
    """Read about `rows` rows of a hook in evenly spaced blocks of the store; all rows if it has fewer."""
    if kept.rows <= rows:
        return kept.read(0, kept.rows)
    block = rows // BLOCKS
    starts = np.linspace(0, kept.rows - block, BLOCKS).astype(int)
    return torch.cat([kept.read(int(start), int(start) + block) for start in starts])


CELLS = 2**24  # 64 MiB of float32


def batches(rows: Float[Tensor, "row d"], n_latents: int, cells: int = CELLS) -> Iterator[Float[Tensor, "batch d"]]:
    """Split rows so that [batch, n_latents] has at most `cells` entries; a batch has at least one row."""
    yield from rows.split(max(1, cells // max(1, n_latents)))
