"""The floating-point types that a setting or a manifest may name; imports nothing heavy."""

from typing import Literal, get_args

DType = Literal["float32", "float16", "bfloat16"]
ComputeDType = Literal["auto", "float32", "bfloat16", "tf32"]  # of the products of a training step
DTYPES: tuple[str, ...] = get_args(DType)
