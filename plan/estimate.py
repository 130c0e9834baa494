"""Estimate the disk, memory and time that a configuration takes, without running it: `python -m plan --config FILE`.

Only the configuration of the model is read, and nothing is written. If the run has its tokens already, they are
counted; otherwise `text.tokens` says how many there will be.
"""

import shutil
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from harvest.plan import Plan, bytes_per_row, plan_harvest, plan_toy
from plan.dictionaries import Size, asked_sizes
from plan.duration import HarvestTime, TrainTime, harvest_time, train_time
from plan.machine import Machine, machine_for
from plan.model_shape import ModelShape, layer_shape, model_shape
from plan.polytopes import PolytopeTime, polytope_time
from plan.space import Disk, Memory, disk, harvest_memory, train_memory
from winnow.config.experiment import Experiment
from winnow.config.toy import ToySettings
from winnow.positions import most_per_sequence
from winnow.runtime.run import Run
from winnow.tokens import TokenFile, open_tokens


class HookTraining(NamedTuple):
    """The training of one hook's dictionaries."""

    hook: str
    sizes: list[Size]
    time: TrainTime
    memory: Memory


class Estimate(NamedTuple):
    """The disk, memory and time of a run, stage by stage."""

    config: Experiment
    machine: Machine
    shape: ModelShape
    plan: Plan
    sequences: int  # harvested and held out
    rows: int  # at most: drop_tokens may leave some out
    disk: Disk
    free: int  # bytes on the disk of the run
    harvest_time: HarvestTime
    harvest_memory: Memory
    training: list[HookTraining]
    polytopes: PolytopeTime | None = None  # where the configuration has them

    @property
    def train_seconds(self) -> float:
        return sum(hook.time.total for hook in self.training)

    @property
    def memory(self) -> Memory:
        """The most memory that a stage takes."""
        stages = [self.harvest_memory, *(hook.memory for hook in self.training)]
        return Memory(max(stage.host for stage in stages), max(stage.gpu for stage in stages))


def estimate(config: Experiment, machine: Machine | None = None) -> Estimate:
    """Estimate a run on an H100 or, if `model.device` is cpu, on this machine.

    Raises `UserError` for what the stages would refuse: an unknown model or hook, too long a context, nothing to
    harvest.
    """
    machine = machine or machine_for(config.model.device)
    if config.toy is None:
        tokens = _tokens(config)
        plan, context = plan_harvest(config, tokens), tokens.context
        sequences, token_sequences = tokens.sequences, tokens.sequences
        shape = model_shape(config.model, config.harvest.hooks, context)
    else:
        plan, context = plan_toy(config.toy, config.harvest.rows_per_shard), 1
        sequences, token_sequences = config.toy.rows, 0
        shape = _toy_shape(config.toy)
    rows = plan.sequences * most_per_sequence(plan.policy, context)
    sizes = asked_sizes(config, shape.hooks, machine.on_gpu)
    space = disk(config, token_sequences, plan, context, shape.hooks, sizes)
    values = rows * sum(shape.hooks.values())
    training = []
    for hook, group in groupby(sizes, key=lambda size: size.hook):
        row_bytes = bytes_per_row({hook: shape.hooks[hook]}, config.harvest.storage_dtype)
        asked = (config.train, list(group), rows, row_bytes, machine)
        training.append(HookTraining(hook, asked[1], train_time(*asked), train_memory(*asked)))
    return Estimate(
        config=config,
        machine=machine,
        shape=shape,
        plan=plan,
        sequences=sequences,
        rows=rows,
        disk=space,
        free=shutil.disk_usage(_existing(Path(config.run))).free,
        harvest_time=harvest_time(config, shape, plan.sequences * context, values, space.shards, machine),
        harvest_memory=harvest_memory(config, shape, plan.policy, context, machine),
        training=training,
        polytopes=_polytope_time(config, shape, machine),
    )


def _polytope_time(config: Experiment, shape: ModelShape, machine: Machine) -> PolytopeTime | None:
    if config.polytopes is None:
        return None
    return polytope_time(config, config.polytopes, layer_shape(config.model, shape.parameters), machine)


def _tokens(config: Experiment) -> TokenFile:
    """Open the run's tokens; if there are none yet, describe those that are asked for."""
    path = Run(Path(config.run)).tokens
    if path.exists():
        return open_tokens(path)
    context = config.text.context
    return TokenFile(path, config.text.tokens // context, context, fingerprint="", tokenizer="", text="", bos=-1)


def _toy_shape(toy: ToySettings) -> ModelShape:
    """Describe the generator of toy data as a model: a row is the product of a code with the features' directions."""
    return ModelShape(
        hooks={"toy": toy.d_model},
        flops_per_token=2 * toy.n_features * (toy.d_model + toy.causes),
        parameters=toy.n_features * (toy.d_model + toy.causes),
        widest=toy.n_features,
    )


def _existing(path: Path) -> Path:
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
