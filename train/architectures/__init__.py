"""The kinds of dictionary that can be trained: one file each, with its loss and gradient."""

from train.architectures.base import Architecture
from train.architectures.registry import architecture_of, kind_of
from train.architectures.step import Parameters, Step, StepContext

__all__ = ["Architecture", "StepContext", "Parameters", "Step", "architecture_of", "kind_of"]
