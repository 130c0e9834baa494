"""Products of float32 tensors in TensorFloat-32: with 10 bits of mantissa, at several times the rate, on GPUs alone.

torch has one switch for the whole process, and since 2.9 two ways to turn it, which must not be mixed. The newer is
taken where there is one, and afterwards it stands as it did before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

AMPERE = (8, 0)  # compute capability of the first GPUs with TensorFloat-32, and with products in bfloat16


@contextmanager
def products_in_tf32() -> Iterator[None]:
    """Allow TensorFloat-32 in the block's products on a GPU; afterwards it is as it was."""
    switch, name, allowed = _switch()
    before = getattr(switch, name)
    if before == allowed:  # setting it again would count as a use of the newer way
        yield
        return
    setattr(switch, name, allowed)
    try:
        yield
    finally:
        setattr(switch, name, before)


def _switch() -> tuple[Any, str, str | bool]:
    products = torch.backends.cuda.matmul
    newer = hasattr(products, "fp32_precision")
    return (products, "fp32_precision", "tf32") if newer else (products, "allow_tf32", True)
