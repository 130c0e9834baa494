"""How much of a matrix of rows and latents is held at a time: bounded, however large the dictionary."""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

CELLS = 2**24  # 64 MiB of float32


def batches(rows: Float[Tensor, "row d"], n_latents: int, cells: int = CELLS) -> Iterator[Float[Tensor, "batch d"]]:
    """Cut rows so that [batch, n_latents] has at most `cells` entries; a single row is never cut."""
    yield from rows.split(max(1, cells // max(1, n_latents)))
