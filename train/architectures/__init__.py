"""The kinds of dictionary that can be trained: one file each, with its loss and gradient."""

from train.architectures.base import Architecture, Parameters, Step, StepContext
from train.architectures.registry import architecture_of, kind_of

__all__ = ["Architecture", "StepContext", "Parameters", "Step", "architecture_of", "kind_of"]
