"""Describe a distribution in a few numbers, the same ones everywhere."""

import torch
from torch import Tensor

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def quantiles(values: Tensor) -> dict[str, float | None]:
    """Give mean and quantiles of numbers, those that are not finite left out; None for none.

    Keys: mean, min, q05, q25, median, q75, q95, max.
    """
    names = ("min", "q05", "q25", "median", "q75", "q95", "max")
    finite = values[values.isfinite()].double().flatten()
    if len(finite) == 0:
        return dict.fromkeys(("mean", *names))
    ordered = finite.sort().values  # torch.quantile has a limit of 16 million numbers
    place = torch.tensor(SHARES, dtype=torch.float64) * (len(ordered) - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=len(ordered) - 1)
    found = torch.lerp(ordered[low], ordered[high], place - low)
    return {"mean": ordered.mean().item(), **dict(zip(names, found.tolist(), strict=True))}
