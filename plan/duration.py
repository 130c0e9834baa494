"""How long a harvest and a training take: operations and bytes over the machine's assumed rates, and a fixed part.

Operations and bytes of a step are those of the code in train/: its products, which a test counts again while a step
runs, and the passes over weights, latents and rows that it makes on a GPU.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from harvest.make_shards import FINISHING
from plan.dictionaries import FLOAT, Size, stacks
from plan.machine import Machine
from plan.model_shape import ModelShape
from train.loader import BLOCK_ROWS
from winnow.config.experiment import Experiment, TrainSettings

DENSE_PRODUCTS = {"relu": 5, "jumprelu": 5, "gated": 7}  # of batch x width x latents; the others: one, and gathers
GATHERS = 4  # decode, the values' gradient, two weight gradients: each reads a weight's row per active latent
LOWERED_BYTES = 6  # more per value of a matrix, to cast it, if products are in bfloat16


class Passes(NamedTuple):
    """What a step reads and writes beside its products."""

    latents: Mapping[str, int]  # reads and writes of batch x latents, by architecture; the others rank latents
    ranking: int
    weights: Mapping[str, int]  # bytes per value of a matrix: its gradient, Adam, unit norm; by architecture
    listed: int  # the same for the others, whose gradients are lists of rows
    gather: float  # bytes per value that is gathered, of those of its dtype


ON_CPU = Passes({"relu": 14, "jumprelu": 18, "gated": 28}, 4, {}, 48, 1.0)
# Kernels do several of these in one pass, gather from a cache twice as fast as the memory, and read three times only.
ON_GPU = Passes({"relu": 5, "jumprelu": 5, "gated": 20}, 1, {"relu": 48, "jumprelu": 48, "gated": 48}, 24, 3 / 8)


class HarvestTime(NamedTuple):
    """Seconds of each part of a harvest.

    One device computes and counts; hashing and writing go on beside it, so the longest of the three counts.
    """

    computing: float  # the forward passes
    counting: float  # to cast, check and count each value
    hashing: float  # the threads that hash shards
    writing: float  # the disk

    @property
    def total(self) -> float:
        return max(self.computing + self.counting, self.hashing, self.writing)


class TrainTime(NamedTuple):
    """Seconds of a training; rows are read during the steps, so the longer of the two counts."""

    steps: float
    reading: float

    @property
    def total(self) -> float:
        return max(self)


def harvest_time(
    config: Experiment, shape: ModelShape, tokens: int, values: int, stored: int, m: Machine
) -> HarvestTime:
    """Estimate a harvest of so many `tokens` that keeps `values` numbers, `stored` bytes in all."""
    return HarvestTime(
        computing=tokens * shape.flops_per_token / (m.flops[config.model.dtype] * m.share),
        counting=values * m.seconds_per_value / (1 if m.on_gpu else torch.get_num_threads()),
        hashing=stored / (m.hash_rate * (FINISHING if m.on_gpu else 1)),
        writing=stored / (m.disk_rate * m.written_share),
    )


def train_time(train: TrainSettings, sizes: list[Size], stored_rows: int, row_bytes: int, m: Machine) -> TrainTime:
    """Estimate the training of one hook's dictionaries from `stored_rows` rows on disk."""
    rows = sizes[0].rows  # the same for all
    batch = train.batch_rows
    moved = batch * row_bytes / m.move_rate
    step = moved + sum(stack_seconds(train, size, count, m) for size, count in stacks(sizes))
    # a store that fits in one window is read once
    read = min(rows, stored_rows) if stored_rows * row_bytes <= train.window_mib * 2**20 else rows
    seconds_per_row = max(row_bytes / m.disk_rate, 1 / (BLOCK_ROWS * m.disk_reads))
    return TrainTime(steps=rows / batch * step, reading=read * seconds_per_row)


def stack_seconds(train: TrainSettings, size: Size, count: int, m: Machine) -> float:
    """Estimate one step of a stack of `count` dictionaries of one size."""
    flops = count * (step_flops(size, train.batch_rows) + gather_flops(size, train.batch_rows))
    moved = count * step_bytes(size, train, ON_GPU if m.on_gpu else ON_CPU)
    computing = flops / (m.flops[size.settings.compute_dtype] * m.share) + moved / (m.memory_rate * m.share)
    # a GPU computes while Python prepares what follows
    return max(computing, m.seconds_per_step) if m.on_gpu else computing + m.seconds_per_step


def step_flops(size: Size, batch: int) -> int:
    """Count the operations of a step's dense products, b_dec's gradient through the encoder included."""
    products = DENSE_PRODUCTS.get(size.settings.architecture, 1)
    return products * 2 * batch * size.matrix + 2 * size.matrix


def gather_flops(size: Size, batch: int) -> int:
    """Count the operations of the weighted sums over active latents in a sparse step."""
    return GATHERS * 2 * batch * size.k * size.d_model


def step_bytes(size: Size, train: TrainSettings, passes: Passes) -> float:
    """Count the bytes that a step reads and writes."""
    low, architecture = size.settings.compute_dtype == "bfloat16", size.settings.architecture
    value = 2 if low else FLOAT
    latents = train.batch_rows * size.n_latents * value * passes.latents.get(architecture, passes.ranking)
    weights = size.trained * (passes.weights.get(architecture, passes.listed) + LOWERED_BYTES * low)
    gathered = GATHERS * train.batch_rows * size.k * size.d_model
    return weights + latents + gathered * (value if passes is ON_GPU else FLOAT) * passes.gather
