"""Convert measured values to JSON: no NaN, no infinity, and only significant digits."""

import math
from collections.abc import Mapping
from typing import Any

DIGITS = 7


def to_json(value: Any) -> Any:
    """Convert arrays, tensors and numbers at any depth; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's and torch's arrays and scalars
        return to_json(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
