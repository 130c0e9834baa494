"""The floating-point types that a setting or a manifest may name; imports nothing heavy."""

from typing import Literal, get_args

DType = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(DType)
