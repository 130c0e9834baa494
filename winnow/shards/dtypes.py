"""How each dtype lies in an HDF5 file, and how it comes back.

HDF5 has no bfloat16: its 16 bits are stored as uint16, and the data set's `dtype` attribute says so. Reading
reinterprets those bits; a numeric cast of them would give nonsense.
"""

import numpy as np
import torch
from torch import Tensor

TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
ON_DISK = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}


def to_disk(values: Tensor, name: str, scratch: Tensor) -> np.ndarray:
    """Cast a CPU tensor to the named dtype, as the array that is stored.

    The array is valid until the next call with the same `scratch`, a flat tensor of that dtype with room for all
    values: casting into fresh memory takes seven times as long.
    """
    same = values.dtype == scratch.dtype and values.is_contiguous()
    cast = values if same else scratch[: values.numel()].view(values.shape).copy_(values)
    return (cast.view(torch.uint16) if name == "bfloat16" else cast).numpy()
