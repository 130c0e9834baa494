"""The dictionaries that a configuration asks for, by what their cost depends on: their sizes, not their settings.

A plan is made before anything is harvested, so this counts them from the configuration; `train.plan` names them once
the activations are there. The tests compare the two, and the sizes here with those of trained dictionaries.
"""

import itertools
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from winnow.config.experiment import Architecture, Dictionaries, Experiment, TrainSettings
from winnow.errors import UserError, nearest

CEILING = 200_000_000  # rows at most, where train.rows = "converged" and no max_rows is set
FLOAT = 4  # bytes: weights and the optimiser's averages are float32
THRESHOLDED = ("jumprelu", "batchtopk", "matryoshka")  # once trained, by a threshold for each latent


class Size(NamedTuple):
    """One dictionary, as far as disk, memory and time depend on it."""

    hook: str
    d_model: int
    architecture: Architecture
    n_latents: int
    k: int  # 0 where no k is set
    tied: bool
    options: tuple[object, ...]  # what else dictionaries that are stacked have in common

    @property
    def matrix(self) -> int:
        """Values of the decoder, or of the encoder."""
        return self.n_latents * self.d_model

    @property
    def trained(self) -> int:
        """Values that Adam moves."""
        own = {"gated": 2, "jumprelu": 1}.get(self.architecture, 0)
        return (1 if self.tied else 2) * self.matrix + (1 + own) * self.n_latents + self.d_model

    @property
    def saved(self) -> int:
        """Values of the finished dictionary."""
        own = 2 if self.architecture == "gated" else int(self.architecture in THRESHOLDED)
        return 2 * self.matrix + (1 + own) * self.n_latents + self.d_model

    def state(self, train: TrainSettings) -> int:
        """Count the bytes from which a training goes on, with the copies of directions that are compared."""
        buffers = 2 if self.architecture in ("batchtopk", "matryoshka") else 0  # the running threshold, and batches
        copies = 2 if train.rows == "converged" else 1
        counters = 8 * self.n_latents + 8 * 5  # int64 rows since each latent fired, float64 sums
        return FLOAT * (3 * self.trained + buffers + copies * self.matrix) + counters


def asked_sizes(config: Experiment, hooks: dict[str, int]) -> list[Size]:
    """List every dictionary that is asked for, at `hooks` (name -> width), hook by hook.

    Raises `UserError` for a pattern that matches none of them.
    """
    sizes = [size for number, grid in enumerate(config.train.dictionaries) for size in _grid(grid, number, hooks)]
    return sorted(sizes, key=lambda size: list(hooks).index(size.hook))


def _grid(grid: Dictionaries, number: int, hooks: dict[str, int]) -> list[Size]:
    sparsities: Sequence[float] = grid.k or grid.l1_coefficient or grid.l0_coefficient or ()
    options = (grid.auxk_coefficient, grid.bandwidth)
    lists = (grid.n_latents, sparsities, grid.initialisation, grid.seed)
    return [
        Size(hook, hooks[hook], grid.architecture, n, int(sparsity) if grid.k else 0, bool(grid.tied), options)
        for hook in _matching(grid.hooks, hooks, number)
        for n, sparsity, _, _ in itertools.product(*lists)
    ]


def _matching(patterns: Sequence[str], hooks: dict[str, int], number: int) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(hook, pattern) for hook in hooks):
            raise UserError(
                f"train.dictionaries.{number}.hooks: no hook {pattern} among those of harvest.hooks"
                f"{nearest(pattern, hooks)}; those are {', '.join(hooks)}"
            )
    return [hook for hook in hooks if any(fnmatchcase(hook, pattern) for pattern in patterns)]


def most_rows(train: TrainSettings) -> int:
    """Give the rows that each dictionary sees at most."""
    return train.rows if train.rows != "converged" else train.max_rows or CEILING


def most_snapshots(train: TrainSettings) -> int:
    """Count the snapshots of one dictionary: at the first batch, and so many for each doubling of the rows."""
    if not train.snapshots:
        return 0
    steps = -(-most_rows(train) // train.batch_rows)
    points = math.floor(train.snapshots * math.log2(most_rows(train) / train.batch_rows) + 1e-9)
    due = {math.ceil(2 ** (i / train.snapshots) - 1e-9) for i in range(points + 1)}  # a step takes one at most
    return len({min(step, steps) for step in due})
