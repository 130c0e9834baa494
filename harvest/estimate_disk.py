"""Bytes on the disk: what a run's files come to, and what a training needs besides while it lasts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harvest.estimate_dictionaries import FLOAT, Size, most_rows, most_snapshots
from harvest.plan import Plan
from winnow.config.experiment import Experiment
from winnow.positions import most_per_sequence
from winnow.shards.contiguous import DataSet, layout_bytes
from winnow.shards.layout import shard_layout
from winnow.shards.statistics import HookStatistics, statistics_layout

HEADER = 2048  # bytes with which a safetensors file says what is in it
BESIDE = 60_000  # bytes of cfg.json, training.json and the curve


class Disk(NamedTuple):
    """Bytes of each kind of file. Shards are exact where every sequence keeps equally many positions."""

    tokens: int
    shards: int
    statistics: int
    dictionaries: int
    snapshots: int
    checkpoints: int  # while the hook is trained that needs most; gone at the end

    @property
    def total(self) -> int:
        """What the disk must hold at once."""
        return sum(self)


def disk(
    config: Experiment, sequences: int, plan: Plan, context: int, hooks: dict[str, int], sizes: list[Size]
) -> Disk:
    """Count the bytes of a run of `sequences` token sequences (0: no token file), harvested as planned."""
    zeros = {hook: HookStatistics.zero(width, context) for hook, width in hooks.items()}
    return Disk(
        tokens=layout_bytes({"tokens": DataSet((sequences, context), np.dtype("<i4"), {})}) if sequences else 0,
        shards=shard_bytes(config, plan, context, hooks),
        statistics=layout_bytes(statistics_layout(zeros)),
        dictionaries=sum(FLOAT * size.saved + HEADER + BESIDE for size in sizes),
        snapshots=most_snapshots(config.train) * sum(FLOAT * size.saved + HEADER for size in sizes),
        checkpoints=checkpoint_bytes(config, sizes),
    )


def shard_bytes(config: Experiment, plan: Plan, context: int, hooks: dict[str, int]) -> int:
    """Add up the files of all shards, all but the last of which are alike."""
    per_sequence = most_per_sequence(plan.policy, context)

    def size(number: int) -> int:
        start, stop = plan.span(number)
        rows = (stop - start) * per_sequence
        return layout_bytes(shard_layout(hooks, rows, config.harvest.storage_dtype, context))

    last = size(plan.shards - 1)
    return last + (plan.shards - 1) * size(0) if plan.shards > 1 else last


def checkpoint_bytes(config: Experiment, sizes: Sequence[Size]) -> int:
    """Count the checkpoints of the hook whose are largest: the older ones stay until the newer are complete."""
    train = config.train
    written = -(-most_rows(train) // train.checkpoint_rows)  # the last of them at the end
    by_hook: dict[str, int] = {}
    for size in sizes:
        by_hook[size.hook] = by_hook.get(size.hook, 0) + size.state(train) + 2 * HEADER
    return min(2, written) * max(by_hook.values(), default=0)
