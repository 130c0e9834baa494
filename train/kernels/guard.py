"""Make a tensor's GPU the current one: Triton launches on the current device, wherever its arguments are."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's GPU the current one in the block; do nothing for a tensor on the CPU."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
