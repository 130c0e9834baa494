"""Over which factors a row may be scaled: intervals around 1 on a grid, and whether they cover where the data live."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PER_OCTAVE = 4


def factors(octaves: int) -> Float[Tensor, " factor"]:
    """Give 2^(k/4) from 2^-octaves to 2^octaves; the one in the middle is 1."""
    steps = octaves * PER_OCTAVE
    return 2 ** (torch.arange(-steps, steps + 1, dtype=torch.float64) / PER_OCTAVE)


def interval_below(
    kl: Float[Tensor, "row factor"], alpha: Float[Tensor, " factor"], tolerance: float
) -> Float[Tensor, "row 2"]:
    """Give the largest interval around 1 in which a quantity stays below a tolerance; its ends, low and high.

    Ends are interpolated linearly in log α. An end at the edge of the grid may be farther out.
    """
    return _ends(kl < tolerance, alpha, (kl, tolerance))


def interval_where(kept: Bool[Tensor, "row factor"], alpha: Float[Tensor, " factor"]) -> Float[Tensor, "row 2"]:
    """Give the largest interval of grid points around 1 at which something holds; NaN where not even at 1."""
    return _ends(kept, alpha, None)


def _ends(good: Tensor, alpha: Tensor, values: tuple[Tensor, float] | None) -> Tensor:
    middle = len(alpha) // 2
    found = torch.full((len(good), 2), torch.nan, dtype=torch.float64)
    for row in range(len(good)):
        if not good[row, middle]:
            continue
        for side, step in enumerate((-1, 1)):
            place = middle
            while 0 <= place + step < len(alpha) and good[row, place + step]:
                place += step
            found[row, side] = alpha[place].log2()
            outside = place + step
            if values is not None and 0 <= outside < len(alpha):
                value, tolerance = values
                inner, outer = value[row, place].item(), value[row, outside].item()
                share = (tolerance - inner) / (outer - inner)
                found[row, side] += share * (alpha[outside].log2() - alpha[place].log2())
    return 2**found


def natural_range(
    norms: Float[Tensor, " row"], cluster: Tensor | None, rows: Tensor
) -> tuple[Float[Tensor, "chosen 2"], Bool[Tensor, " chosen"]]:
    """Give 5 and 95 % of the norms of each chosen row's cluster, over its own norm, and whether it is in a cluster.

    cluster: of every row, −1 for none; a row in none is compared with all rows.
    """
    ends, in_cluster = [], []
    for row in rows.tolist():
        inside = cluster is not None and int(cluster[row]) >= 0
        others = norms[cluster == cluster[row]] if cluster is not None and inside else norms
        ends.append(torch.quantile(others.double(), torch.tensor([0.05, 0.95], dtype=torch.float64)) / norms[row])
        in_cluster.append(inside)
    return torch.stack(ends), torch.tensor(in_cluster)


def covers(interval: Float[Tensor, "row 2"], natural: Float[Tensor, "row 2"]) -> Float[Tensor, " row"]:
    """Say, as 0 or 1, whether each interval contains the natural range; NaN where there is no interval."""
    inside = (interval[:, 0] <= natural[:, 0]) & (natural[:, 1] <= interval[:, 1])
    return torch.where(interval.isnan().any(1), torch.nan, inside.double())
