"""Make one shard: a thread writes it, and what the source computes for its sequences is handed to that thread."""

from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

from harvest.background import BackgroundShard
from harvest.source import Source
from winnow.shards.layout import shard_path
from winnow.write_shard import write_shard


def make_shard(
    source: Source,
    number: int,
    span: tuple[int, int],
    storage_dtype: str,
    folder: Path,
    pool: Executor,
    held: ExitStack,
    advance: Callable[[int], None],
) -> Generator[BackgroundShard, None, None]:
    """Compute shard `number`, of sequences `span`, and have it written into `folder` by a thread of `pool`.

    Yields the shard once it is open, and after each batch that it was handed. At the end, everything is computed, not
    yet published; where the iteration is closed before, the shard is given up. `held` is closed when the shard is
    published or given up; `advance` is told the units of the source that each batch comes from.
    """
    index = source.index(*span)
    opened = write_shard(shard_path(folder, number), source.width, index, span, storage_dtype, source.context)
    with BackgroundShard(pool, opened, held, source.device) as shard:
        yield shard
        for units, rows in source.rows(*span, index):
            shard.append(rows)
            advance(units)
            yield shard
