"""Compute one shard: take the rows of its sequences from the source, and hand them to a thread that writes them."""

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

from harvest.background import BackgroundShard
from harvest.source import Source
from winnow.shard import shard_path, write_shard


def make_shard(
    source: Source,
    number: int,
    span: tuple[int, int],
    storage_dtype: str,
    folder: Path,
    pool: Executor,
    held: ExitStack,
    advance: Callable[[int], None],
) -> BackgroundShard:
    """Compute shard `number`, of sequences `span`, and have it written into `folder` by a thread of `pool`.

    Returns once everything is computed, not yet published. `held` is closed when it is; `advance` is told the
    units of the source that each batch comes from.
    """
    index = source.index(*span)
    opened = write_shard(shard_path(folder, number), source.width, index, span, storage_dtype, source.context)
    with BackgroundShard(pool, opened, held, source.device) as shard:
        for units, rows in source.rows(*span, index):
            shard.append(rows)
            advance(units)
    return shard
