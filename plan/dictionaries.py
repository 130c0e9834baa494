"""The dictionaries that a configuration asks for, and how large each is.

`train.plan` lists them. Their sizes are measured on the trainer's own objects, made of tensors that have a shape and
no memory (torch's meta device).
"""

import dataclasses
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

from train.architectures import kind_of
from train.compute_dtype import usual_dtype
from train.learner import Learner
from train.plan import Planned, plan_dictionaries
from train.schedule import CONVERGED, most_rows
from train.settings import AUTO_DTYPE, DictionarySettings
from train.stack import LAUNCHED_LATENTS
from train.start.initialise import initial_parameters
from winnow.config.experiment import Experiment
from winnow.runtime.run import Run

FLOAT = torch.float32.itemsize  # weights and the optimiser's averages


class Size(NamedTuple):
    """What disk, memory and time depend on in one dictionary."""

    hook: str
    d_model: int
    settings: DictionarySettings
    trained: int  # values that Adam moves
    saved: int  # values of the finished dictionary
    state: int  # bytes of a checkpoint, with the copies of directions that the rule of convergence compares

    @property
    def n_latents(self) -> int:
        return self.settings.n_latents

    @property
    def k(self) -> int:
        """Latents kept for a row; 0 if no k is set."""
        return self.settings.k or 0

    @property
    def matrix(self) -> int:
        """Values of the decoder, or of the encoder."""
        return self.n_latents * self.d_model

    @property
    def rows(self) -> int:
        """The most rows that it sees."""
        return most_rows(self.settings)


def asked_sizes(config: Experiment, hooks: dict[str, int], on_gpu: bool) -> list[Size]:
    """List every dictionary that is asked for, at `hooks` (name -> width), hook by hook.

    on_gpu: whether a GPU trains those whose dtype the configuration leaves open. Raises `UserError` as
    `plan_dictionaries` does, except that no dictionary is no error.
    """
    if not config.train.dictionaries:
        return []
    planned = plan_dictionaries(config, {"hooks": hooks}, Run(Path(config.run)).dictionaries)
    return [size_of(one.hook, hooks[one.hook], _resolved(one.settings, on_gpu)) for one in planned]


def _resolved(settings: DictionarySettings, on_gpu: bool) -> DictionarySettings:
    left_open = settings.compute_dtype == AUTO_DTYPE
    return dataclasses.replace(settings, compute_dtype=usual_dtype(on_gpu)) if left_open else settings


@lru_cache(maxsize=1024)
def size_of(hook: str, d_model: int, settings: DictionarySettings) -> Size:
    """Measure the size of a dictionary of these settings in `d_model` dimensions."""
    meta = torch.device("meta")
    directions = torch.empty(settings.n_latents, d_model, device=meta)
    parameters = initial_parameters(directions, torch.empty(d_model, device=meta))
    learner = Learner(Planned(hook, Path(hook), settings), parameters, meta, held_out_rows=1)
    tensors, _ = learner.state()
    copies = 2 if settings.rows == CONVERGED else 1
    return Size(
        hook,
        d_model,
        settings,
        trained=sum(average.numel() for average in learner.averages.values()),
        saved=sum(parameter.numel() for parameter in learner.dictionary(1.0).parameters()),
        state=sum(tensor.nbytes for tensor in tensors.values()) + copies * directions.nbytes,
    )


def stacks(sizes: list[Size]) -> list[tuple[Size, int]]:
    """Group dictionaries into stacks, as the trainer does on a GPU: the size of one, and how many there are."""
    shapes = [(kind_of(size.settings), size.n_latents, size.d_model) for size in sizes]
    largest = dict(
        sorted(zip(shapes, sizes, strict=True), key=lambda pair: pair[1].k)
    )  # of each shape, the one with the largest k
    grouped = []
    for shape, count in Counter(shapes).items():
        size = largest[shape]
        most = max(1, LAUNCHED_LATENTS // (size.settings.batch_rows * size.n_latents))
        grouped += [(size, min(most, count - start)) for start in range(0, count, most)]
    return grouped
