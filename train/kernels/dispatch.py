"""A step's work on active latents on a GPU: in Triton where it is `available`, else in torch.

Triton is imported only when it is used. `make kernels` needs no GPU: it compares the kernels with torch in Triton's
interpreter, and compiles them. It installs Triton in an environment of its own, since that takes a gigabyte.
"""

import sys
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


def available(tensor: Tensor) -> bool:
    """Tell whether Triton computes with this tensor: on a GPU, if it works there, except in float64."""
    return tensor.is_cuda and tensor.itemsize <= 4 and _works()


def top_k(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k largest of ReLU(pre) in each row, float32, and their latents."""
    from train.kernels.selection import top_k

    return top_k(pre, k)


def weighted_sums(offsets: Tensor, index: Tensor, weights: Tensor, table: Tensor, cut: bool = False) -> Tensor:
    """Compute, for each list, the weighted sum of the rows of a table that it names; float32."""
    from train.kernels.rows import weighted_sums

    return weighted_sums(offsets, index, weights, table, cut)


def products(offsets: Tensor, index: Tensor, rows: Tensor, table: Tensor) -> Tensor:
    """Compute the dot products of each list's row with the rows of a table that the list names; float32."""
    from train.kernels.rows import products

    return products(offsets, index, rows, table)


@cache
def _works() -> bool:
    """Tell whether Triton is installed and can build a kernel here: it needs a C compiler and Python's headers."""
    if find_spec("triton") is None:
        return False
    offsets, index = torch.tensor([0, 2], device="cuda"), torch.tensor([0, 1], device="cuda")
    try:
        found = weighted_sums(offsets, index, torch.ones(2, device="cuda"), torch.ones(2, 16, device="cuda"))
        works, why = found.tolist() == [[2.0] * 16], "its sums are wrong"
    except Exception as error:  # whatever the compiler, the linker or the driver raise
        works, why = False, f"{type(error).__name__}: {' '.join(str(error).split())[-200:]}"
    if not works:
        print(f"train: Triton cannot build its kernels here ({why}); torch computes instead, slower", file=sys.stderr)
    return works
