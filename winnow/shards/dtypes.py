"""Map each storage dtype to its numpy dtype in an HDF5 file and its torch dtype.

HDF5 has no bfloat16: a shard stores its 16 bits as uint16 and names it in the `dtype` attribute. A reader
reinterprets the bits; casting the integers would give nonsense.
"""

import numpy as np
import torch
from torch import Tensor

TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
ON_DISK = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}


def to_disk(values: Tensor, name: str, scratch: Tensor) -> np.ndarray:
    """Cast a CPU tensor to the dtype `name`, and return the array to store.

    The array is valid until the next call with the same `scratch`, a flat tensor of that dtype with room for all
    values: casting into fresh memory takes seven times as long.
    """
    same = values.dtype == scratch.dtype and values.is_contiguous()
    cast = values if same else scratch[: values.numel()].view(values.shape).copy_(values)
    return stored_bits(cast)


def stored_bits(values: Tensor) -> np.ndarray:
    """Give a CPU tensor in a storage dtype as the array to store, without copying it."""
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()
