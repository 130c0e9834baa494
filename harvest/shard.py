"""Compute one shard: run the model over its sequences, and hand the rows to a thread that writes them."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harvest.background import BackgroundShard
from harvest.forward import Forward
from harvest.plan import Plan
from harvest.positions import kept_positions
from winnow.config import Experiment
from winnow.shard import RowIndex, shard_path, write_shard
from winnow.tokens import TokenFile


def make_shard(
    forward: Forward,
    width: Mapping[str, int],
    config: Experiment,
    tokens: TokenFile,
    plan: Plan,
    number: int,
    folder: Path,
    pool: Executor,
    held: ExitStack,
    advance: Callable[[int], None],
) -> BackgroundShard:
    """Compute shard `number` of the plan and have it written into `folder` by a thread of `pool`.

    Returns once everything is computed, not yet published. `held` is closed when it is; `advance` is told the
    tokens of each batch.
    """
    start, stop = plan.span(number)
    batch = config.harvest.sequences_per_batch
    sequences = tokens.read(start, stop)
    index = _rows(sequences, plan, start, config.seed)
    places = (index.sequence.long() - start) * tokens.context + index.position.long()  # ascending
    bounds = torch.searchsorted(places, torch.arange(0, stop - start + batch, batch) * tokens.context)
    opened = write_shard(
        shard_path(folder, number), width, index, (start, stop), config.harvest.storage_dtype, tokens.context
    )
    batches = torch.from_numpy(sequences).split(batch)
    with BackgroundShard(pool, opened, held, forward.device) as shard:
        for i, seen in enumerate(forward(batches)):
            chosen = places[bounds[i] : bounds[i + 1]] - i * batch * tokens.context
            shard.append({hook: _select(value, chosen) for hook, value in seen.items()})
            advance(batches[i].numel())
    return shard


def _select(value: Tensor, chosen: Tensor) -> Tensor:
    """Take rows of [sequence, context, width] by their place; all of them, mostly, and then nothing is copied."""
    flat = value.flatten(0, 1)
    return flat if len(chosen) == len(flat) else flat.index_select(0, chosen.to(value.device))


def _rows(sequences: np.ndarray, plan: Plan, start: int, seed: int) -> RowIndex:
    kept = kept_positions(plan.policy, sequences, start, seed)
    sequence, position = np.nonzero(kept)
    columns = (sequence + start, position, sequences[kept])
    return RowIndex(*(torch.from_numpy(column.astype(np.int32)) for column in columns))
