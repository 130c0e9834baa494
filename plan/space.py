"""Bytes on disk, of a run's files and of a training's checkpoints; bytes in memory, of each stage at its peak.

Memory is counted as far as it depends on the settings; the rest, which every process takes, is two assumed numbers. A
test compares the counted part with real stages (`tests/plan/test_memory.py`): for a training it is right to a factor of
two, for a harvest it is the most, since batches wait only if the disk is slower than the model.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from harvest import device_accumulator
from harvest.accumulate import BLOCK_VALUES
from harvest.background_writer import BATCHES_IN_FLIGHT
from harvest.hook_threads import threads_for
from harvest.host_buffers import BATCHES, BLOCK_BYTES
from harvest.make_shards import FINISHING
from harvest.plan import Plan, bytes_per_row
from plan.dictionaries import FLOAT, Size, stacks
from plan.machine import Machine
from plan.model_shape import ModelShape
from train.device_windows import PIECE_BYTES
from train.link import BUFFERS
from train.loader import BLOCK_ROWS
from train.memory import step_bytes
from train.snapshots import most_snapshots
from winnow.config.experiment import Experiment, TrainSettings
from winnow.config.positions import PositionPolicy
from winnow.model.forward import AT_ONCE
from winnow.positions import most_per_sequence
from winnow.shards.contiguous import DataSet, layout_bytes
from winnow.shards.layout import shard_layout
from winnow.shards.statistics import BINS, HookStatistics, store_layout

HEADER = 2048  # bytes of the header of a safetensors file
BESIDE = 60_000  # bytes of cfg.json, training.json and the curve


class Disk(NamedTuple):
    """Bytes of each kind of file. Shards are exact if every sequence keeps equally many positions."""

    tokens: int
    shards: int
    statistics: int
    dictionaries: int
    snapshots: int
    checkpoints: int  # of the hook that needs most, while it is trained; deleted at the end

    @property
    def total(self) -> int:
        """The most bytes on disk at once."""
        return sum(self)


def disk(
    config: Experiment, sequences: int, plan: Plan, context: int, hooks: dict[str, int], sizes: list[Size]
) -> Disk:
    """Count the bytes of a run with `sequences` token sequences (0: no token file), harvested by `plan`."""
    zeros = {hook: HookStatistics.zero(width, context) for hook, width in hooks.items()}
    return Disk(
        tokens=layout_bytes({"tokens": DataSet((sequences, context), np.dtype("<i4"), {})}) if sequences else 0,
        shards=shard_bytes(config, plan, context, hooks),
        statistics=layout_bytes(store_layout(zeros)),
        dictionaries=sum(FLOAT * size.saved + HEADER + BESIDE for size in sizes),
        snapshots=sum(
            most_snapshots(size.rows, config.train.snapshots, config.train.batch_rows) * (FLOAT * size.saved + HEADER)
            for size in sizes
        ),
        checkpoints=checkpoint_bytes(config, sizes),
    )


def shard_bytes(config: Experiment, plan: Plan, context: int, hooks: dict[str, int]) -> int:
    """Sum the files of all shards; only the last may be smaller."""
    per_sequence = most_per_sequence(plan.policy, context)

    def size(number: int) -> int:
        start, stop = plan.span(number)
        rows = (stop - start) * per_sequence
        return layout_bytes(shard_layout(hooks, rows, config.harvest.storage_dtype, context))

    last = size(plan.shards - 1)
    return last + (plan.shards - 1) * size(0) if plan.shards > 1 else last


def checkpoint_bytes(config: Experiment, sizes: Sequence[Size]) -> int:
    """Count the checkpoints of the hook that has the largest: two at once, until the newer ones are complete."""
    by_hook = Counter[str]()
    for size in sizes:
        written = -(-size.rows // config.train.checkpoint_rows)  # the last of them at the end
        by_hook[size.hook] += min(2, written) * (size.state + 2 * HEADER)
    return max(by_hook.values(), default=0)


PROCESS = 700_000_000  # Python, torch, transformers and TransformerLens, loaded
CONTEXT = 1_000_000_000  # a GPU's driver and libraries, on the host and on the device each
WORKING = 4  # arrays of the widest module's output that a forward pass holds at once
PER_ROW = 60  # bytes for each row of the windows: its place, and the random numbers that draw it
WRITERS = 2  # shards in flight
COUNTED = 8  # bytes of a count on a GPU
RECENT = 2  # bytes more of a count on a CPU, and on the host where a GPU's are taken over
COUNTING = 40  # bytes of the device's memory for each value of a block that is counted there


class Memory(NamedTuple):
    """Bytes at the peak of a stage."""

    host: int
    gpu: int  # 0 on a CPU


def harvest_memory(config: Experiment, shape: ModelShape, policy: PositionPolicy, context: int, m: Machine) -> Memory:
    """Estimate a harvest's memory: weights, batches on their way to the disk, and statistics."""
    asked = config.harvest
    number = 4 if config.model.dtype == "float32" else 2
    weights = shape.parameters * number
    rows = most_per_sequence(policy, context)
    sequences = min(asked.sequences_per_batch, max(1, asked.rows_per_shard // rows))
    batch = sequences * context * sum(shape.hooks.values()) * number
    passing = WORKING * sequences * context * shape.widest * number
    counts = sum(shape.hooks.values()) * BINS * COUNTED
    if m.on_gpu:
        in_flight = 1 + FINISHING
        stored = BATCHES * pinned_bytes(config, shape, sequences * rows)
        taken_over = FINISHING * max(shape.hooks.values()) * BINS * (2 * COUNTED + RECENT)  # hook by hook
        index = in_flight * asked.rows_per_shard * 24
        norms = in_flight * asked.rows_per_shard * len(shape.hooks) * FLOAT
        counting = in_flight * counts + norms + device_accumulator.BLOCK_VALUES * COUNTING
        host = PROCESS + CONTEXT + weights + stored + taken_over + index
        return Memory(host, CONTEXT + weights + 2 * batch + passing + stored + counting)
    scratch = max(WRITERS, threads_for(len(shape.hooks))) * BLOCK_VALUES * 2 * FLOAT
    statistics = WRITERS * sum(shape.hooks.values()) * BINS * (COUNTED + RECENT) + scratch
    index = WRITERS * asked.rows_per_shard * 24
    at_once = min(torch.get_num_threads(), AT_ONCE)
    waiting = (at_once + 1 + BATCHES_IN_FLIGHT + 1) * batch
    return Memory(PROCESS + weights + waiting + at_once * passing + statistics + index, 0)


def pinned_bytes(config: Experiment, shape: ModelShape, rows: int) -> int:
    """Count the pinned blocks that a batch of so many rows takes: what is stored, the norms, a row of each hook."""
    each = bytes_per_row(shape.hooks, config.harvest.storage_dtype) + FLOAT * len(shape.hooks)
    suspects = FLOAT * sum(shape.hooks.values())
    return (-(-(rows * each + suspects) // BLOCK_BYTES) + 1) * BLOCK_BYTES


def train_memory(train: TrainSettings, sizes: list[Size], stored_rows: int, row_bytes: int, m: Machine) -> Memory:
    """Estimate the memory of training one hook's dictionaries: states, a step, an evaluation, windows of rows.

    A GPU holds the windows, if it has room for them; else, as on a CPU, the host does.
    """
    windows = window_bytes(train, stored_rows, row_bytes)
    index = window_rows(train, stored_rows, row_bytes) * PER_ROW + 2 * 8 * stored_rows // BLOCK_ROWS
    states = sum(size.state for size in sizes)
    evaluated = sum(FLOAT * size.saved for size in sizes)  # an evaluation holds all, as they would be saved
    # stacks that step at once: on a CPU one per core, on a GPU one
    steps = sorted((step_memory(size, count) for size, count in stacks(sizes)), reverse=True)
    at_once = 1 if m.on_gpu else torch.get_num_threads()
    working = states + max(evaluated, sum(steps[:at_once]))
    if not m.on_gpu:
        return Memory(PROCESS + windows + index + working, 0)
    # a dictionary is made, saved and gathered in host memory
    host = PROCESS + CONTEXT + index + 2 * max((FLOAT * size.saved for size in sizes), default=0)
    gpu = CONTEXT + working
    if gpu + windows > m.gpu_memory:
        return Memory(host + windows, gpu)
    return Memory(host + BUFFERS * min(PIECE_BYTES, windows), gpu + windows)


def window_rows(train: TrainSettings, stored_rows: int, row_bytes: int) -> int:
    """Count the rows of a window."""
    return max(BLOCK_ROWS, min(stored_rows, train.window_mib * 2**20 // row_bytes))


def window_bytes(train: TrainSettings, stored_rows: int, row_bytes: int) -> int:
    """Count the windows of rows in memory: two, or the one that holds all of the store."""
    window = window_rows(train, stored_rows, row_bytes)
    return (1 if window == stored_rows else 2) * window * row_bytes


def step_memory(size: Size, count: int) -> int:
    """Count the gradients of a stack's step, and its arrays by row and latent."""
    return step_bytes(size.settings, size.d_model, size.trained, size.n_latents, count)
