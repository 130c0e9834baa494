"""Compare trainers at equal L0: interpolate FVU, choose each trainer's best rate, average over seeds."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.quality.plan import Cell
from bench.quality.rows import Quality

REACH = 1.1  # a target this factor beyond the outermost L0 is still extrapolated to; one beyond that is not measured


class Matched(NamedTuple):
    """A trainer's FVU at a target, at its best rate."""

    fvu: float  # mean over seeds
    spread: float  # standard deviation over seeds; 0 for one
    rate: float
    at_edge: bool  # the best rate is the lowest or the highest of those tried
    dead: float  # mean over seeds, of the dictionary whose L0 is nearest
    seeds: int


def fvu_at(target: float, points: Iterable[Quality]) -> float | None:
    """Interpolate log FVU over log L0 between the nearest point on either side of the target.

    Where one side has no point, the two nearest serve if the nearest is within a factor of `REACH`; else None. Points
    that diverged are left out.
    """
    usable = sorted((q.l0, q.fvu) for q in points if math.isfinite(q.fvu) and q.l0 > 0)
    below = [point for point in usable if point[0] <= target]
    above = [point for point in usable if point[0] > target]
    if below and below[-1][0] == target:
        return below[-1][1]
    if below and above:
        pair = below[-1], above[0]
    else:
        nearest = sorted(usable, key=lambda point: abs(math.log(point[0] / target)))[:2]
        if len(nearest) < 2 or nearest[0][0] == nearest[1][0] or _apart(nearest[0][0], target) > REACH:
            return None
        pair = nearest[0], nearest[1]
    (l0, fvu), (other_l0, other_fvu) = pair
    slope = math.log(other_fvu / fvu) / math.log(other_l0 / l0)
    return fvu * (target / l0) ** slope


def _apart(one: float, other: float) -> float:
    return max(one / other, other / one)


def match(target: float, measured: Mapping[Cell, Quality]) -> Matched | None:
    """Take one trainer's cells of one architecture at the rate that is best for the first seed.

    None if that seed reaches the target at no rate, or another seed does not at that one.
    """
    rate = best_rate(target, measured)
    if rate is None:
        return None
    rates = sorted({cell.rate for cell in measured})
    of_seeds: dict[int, list[Quality]] = {}
    for cell, quality in measured.items():
        if cell.rate == rate:
            of_seeds.setdefault(cell.seed, []).append(quality)
    reached = [fvu for points in of_seeds.values() if (fvu := fvu_at(target, points)) is not None]
    if len(reached) < len(of_seeds):
        return None
    return Matched(
        fvu=statistics.fmean(reached),
        spread=statistics.stdev(reached) if len(reached) > 1 else 0.0,
        rate=rate,
        at_edge=len(rates) > 2 and rate in (rates[0], rates[-1]),
        dead=statistics.fmean(_nearest(target, points).dead for points in of_seeds.values()),
        seeds=len(reached),
    )


def best_rate(target: float, measured: Mapping[Cell, Quality]) -> float | None:
    """Choose the rate whose FVU at the target is the lowest, by the first seed; None if none reaches the target."""
    first = min((cell.seed for cell in measured), default=0)
    of_rates: dict[float, list[Quality]] = {}
    for cell, quality in measured.items():
        if cell.seed == first:
            of_rates.setdefault(cell.rate, []).append(quality)
    found = [(fvu, rate) for rate, points in of_rates.items() if (fvu := fvu_at(target, points)) is not None]
    return min(found)[1] if found else None


def _nearest(target: float, points: Sequence[Quality]) -> Quality:
    return min((q for q in points if math.isfinite(q.fvu) and q.l0 > 0), key=lambda q: _apart(q.l0, target))
