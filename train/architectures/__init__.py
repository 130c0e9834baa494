"""The kinds of dictionary that can be trained: one file each, with its loss and gradient."""

from train.architectures.relu import Relu
from train.architectures.step import Parameters, Step
from train.architectures.topk import TopK

Architecture = Relu | TopK

__all__ = ["Architecture", "Parameters", "Relu", "Step", "TopK"]
