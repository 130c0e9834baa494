"""Has a dictionary stopped learning? A comparison of dictionaries that have not is a comparison of moments."""

import math
from collections.abc import Sequence

import numpy as np

TAIL = 0.5  # share of the rows, the last, over which the slope is taken
STEEP = -0.1  # d log FVU / d log rows: doubling the rows would still lower the FVU by 7 %


def slope(rows: Sequence[float | int], losses: Sequence[float | int | None]) -> float:
    """Compute d log loss / d log rows by least squares over the last half of the training; NaN from under 3 points."""
    points = [
        (math.log(row), math.log(loss))
        for row, loss in zip(rows, losses, strict=True)
        if loss is not None and loss > 0 and row >= TAIL * rows[-1]
    ]
    if len(points) < 3:
        return math.nan
    x, y = np.array(points).T
    return float(np.polyfit(x - x.mean(), y, 1)[0])


def converged(slope_of_fvu: float) -> bool | None:
    """Judge a slope: whether it is flatter than `STEEP`; None where there is none."""
    return None if math.isnan(slope_of_fvu) else slope_of_fvu > STEEP
