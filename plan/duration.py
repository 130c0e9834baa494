"""How long a harvest and a training take: operations, bytes and a fixed part, each by the machine's assumed rate.

A step's operations and bytes are those of the code in train/: its products are counted, and a test counts them again
while a step runs; its bytes are the passes over weights, latents and rows that it makes on a GPU.
"""

from typing import NamedTuple

from plan.dictionaries import FLOAT, Size, stacks
from plan.machine import Machine
from plan.model_shape import ModelShape
from train.loader import BLOCK_ROWS
from winnow.config.experiment import Experiment, TrainSettings

DENSE_PRODUCTS = {"relu": 5, "jumprelu": 5, "gated": 7}  # of batch x width x latents; the others take one, and sums
GATHERS = 4  # decode, the values' gradient, two weight gradients: a weight's row for each active latent
LATENT_PASSES = {"relu": 14, "jumprelu": 18, "gated": 28}  # reads and writes of batch x latents; the others rank them
RANKING_PASSES = 4
WEIGHT_BYTES = 48  # for each value of a matrix: written as gradient, by Adam, kept of unit norm (mean of the two)
LOWERED_BYTES = 6  # more where products are in bfloat16: each matrix is cast


class HarvestTime(NamedTuple):
    """Seconds of each part of a harvest; they go on side by side, and the longest decides."""

    computing: float  # the forward passes
    counting: float  # one thread that casts, counts, copies and hashes each value
    writing: float  # the disk

    @property
    def total(self) -> float:
        return max(self)


class TrainTime(NamedTuple):
    """Seconds of a training; rows are read while steps are taken, and what takes longer decides."""

    steps: float
    reading: float

    @property
    def total(self) -> float:
        return max(self)


def harvest_time(
    config: Experiment, shape: ModelShape, tokens: int, values: int, stored: int, m: Machine
) -> HarvestTime:
    """Estimate a harvest of so many tokens, of which `values` numbers of `stored` bytes in all are kept."""
    return HarvestTime(
        computing=tokens * shape.flops_per_token / (m.flops[config.model.dtype] * m.share),
        counting=values * m.seconds_per_value,
        writing=stored / m.disk_rate,
    )


def train_time(train: TrainSettings, sizes: list[Size], stored_rows: int, row_bytes: int, m: Machine) -> TrainTime:
    """Estimate the training of the dictionaries of one hook, `stored_rows` of which are on the disk."""
    rows = sizes[0].rows  # a setting that all share
    batch = train.batch_rows
    moved = batch * row_bytes / m.move_rate
    step = moved + sum(stack_seconds(train, size, count, m) for size, count in stacks(sizes))
    # what fits in one window is read once
    read = min(rows, stored_rows) if stored_rows * row_bytes <= train.window_mib * 2**20 else rows
    seconds_per_row = max(row_bytes / m.disk_rate, 1 / (BLOCK_ROWS * m.disk_reads))
    return TrainTime(steps=rows / batch * step, reading=read * seconds_per_row)


def stack_seconds(train: TrainSettings, size: Size, count: int, m: Machine) -> float:
    """Estimate one step of a stack of `count` dictionaries of one size."""
    flops = count * (step_flops(size, train.batch_rows) + gather_flops(size, train.batch_rows))
    return (
        flops / (m.flops[train.compute_dtype] * m.share)
        + count * step_bytes(size, train) / (m.memory_rate * m.share)
        + m.seconds_per_step
    )


def step_flops(size: Size, batch: int) -> int:
    """Count the operations of a step's dense products; the last of them is b_dec's gradient through the encoder."""
    products = DENSE_PRODUCTS.get(size.settings.architecture, 1)
    return products * 2 * batch * size.matrix + 2 * size.matrix


def gather_flops(size: Size, batch: int) -> int:
    """Count the operations of the weighted sums over active latents, where a step is sparse."""
    return GATHERS * 2 * batch * size.k * size.d_model


def step_bytes(size: Size, train: TrainSettings) -> int:
    """Count the bytes that a step reads and writes."""
    low = train.compute_dtype == "bfloat16"
    latents = train.batch_rows * size.n_latents * (2 if low else FLOAT)
    passes = LATENT_PASSES.get(size.settings.architecture, RANKING_PASSES)
    gathered = GATHERS * train.batch_rows * size.k * size.d_model * FLOAT
    return size.trained * (WEIGHT_BYTES + LOWERED_BYTES * low) + passes * latents + gathered
