"""A few of the harvested rows of a hook, from all over the store: for what needs rows and not only their statistics."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from winnow.store import ActivationStore

ROWS = 16_384
BLOCKS = 32


def store_sample(store: ActivationStore, hook: str, rows: int = ROWS) -> Float[Tensor, "row width"]:
    """Read about `rows` rows in blocks spread evenly over the store; all of them, where it has fewer."""
    if store.rows <= rows:
        return store.read(hook, 0, store.rows)
    block = rows // BLOCKS
    starts = np.linspace(0, store.rows - block, BLOCKS).astype(int)
    return torch.cat([store.read(hook, int(start), int(start) + block) for start in starts])
