"""Make one shard: run the model over its sequences while a thread writes the batches before.

The device never waits for the disk, nor the disk for the device, but for a bounded number of batches in
between. On a GPU the rows leave by a stream of their own into pinned memory.
"""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harvest.model import LanguageModel
from harvest.plan import Plan
from harvest.positions import kept_positions
from winnow.config import Experiment
from winnow.shard import RowIndex, ShardFile, shard_path, write_shard
from winnow.tokens import TokenFile

BATCHES_IN_FLIGHT = 2


def make_shard(
    model: LanguageModel,
    width: Mapping[str, int],
    config: Experiment,
    tokens: TokenFile,
    plan: Plan,
    number: int,
    folder: Path,
    advance: Callable[[int], None],
) -> None:
    """Write shard `number` of the plan into `folder`, telling `advance` the tokens of each batch."""
    start, stop = plan.span(number)
    batch = config.harvest.sequences_per_batch
    sequences = tokens.read(start, stop)
    index = _rows(sequences, plan, start, config.seed)
    places = (index.sequence.long() - start) * tokens.context + index.position.long()  # ascending
    bounds = torch.searchsorted(places, torch.arange(0, stop - start + batch, batch) * tokens.context)
    leave = Departure(model.device)
    with (
        write_shard(
            shard_path(folder, number), width, index, (start, stop), config.harvest.storage_dtype, tokens.context
        ) as shard,
        ThreadPoolExecutor(1) as writer,
    ):
        pending: deque[Future[None]] = deque()
        for i, chunk in enumerate(torch.from_numpy(sequences).split(batch)):
            chosen = places[bounds[i] : bounds[i + 1]] - i * batch * tokens.context
            seen = model.activations(chunk, list(width))
            while len(pending) >= BATCHES_IN_FLIGHT:
                pending.popleft().result()
            pending.append(writer.submit(_append, shard, leave({h: _select(v, chosen) for h, v in seen.items()})))
            advance(chunk.numel())
        while pending:
            pending.popleft().result()


class Departure:
    """Brings rows from the device to the host; on a GPU without holding up its computation."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, rows: Mapping[str, Tensor]) -> Callable[[], Mapping[str, Tensor]]:
        """Start the copy; the result, called by the thread that needs the rows, waits until they are there."""
        if self._stream is None:
            return lambda: {hook: values.cpu() for hook, values in rows.items()}
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        arrived = {}
        with torch.cuda.stream(self._stream):
            for hook, values in rows.items():
                arrived[hook] = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
                arrived[hook].copy_(values, non_blocking=True)
                values.record_stream(self._stream)
            done = self._stream.record_event()

        def wait() -> Mapping[str, Tensor]:
            done.synchronize()
            return arrived

        return wait


def _append(shard: ShardFile, arrived: Callable[[], Mapping[str, Tensor]]) -> None:
    shard.append(arrived())


def _select(value: Tensor, chosen: Tensor) -> Tensor:
    """Take rows of [sequence, context, width] by their place; all of them, mostly, and then nothing is copied."""
    flat = value.flatten(0, 1)
    return flat if len(chosen) == len(flat) else flat.index_select(0, chosen.to(value.device))


def _rows(sequences: np.ndarray, plan: Plan, start: int, seed: int) -> RowIndex:
    kept = kept_positions(plan.policy, sequences, start, seed)
    sequence, position = np.nonzero(kept)
    columns = (sequence + start, position, sequences[kept])
    return RowIndex(*(torch.from_numpy(column.astype(np.int32)) for column in columns))
