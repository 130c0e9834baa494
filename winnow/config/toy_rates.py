"""How often each toy feature fires where features have children: exact, and computed without numpy.

Features are numbered level by level: roots 0 … R − 1, then their children, family by family. So with b children each,
the children of feature p are R + p·b … R + p·b + b − 1. Features behind the trees stand alone.

A feature asks for the rate that the decay gives it. A child fires only where its parent does: the children of one
parent get what they ask for as long as they fire on at most `children_share` of the parent's rows, and are all cut by
the same factor beyond that (independent siblings each by itself). The scale makes up for what is cut, so that `active`
features fire on average.
"""

from functools import lru_cache
from typing import NamedTuple

MOST_STEPS = 200


class Forest(NamedTuple):
    """Trees of features, numbered level by level; `roots` = 0: there are none."""

    roots: int
    children: int
    depth: int

    @property
    def parents(self) -> int:
        """Number of features that have children: the first ones."""
        return self.roots * sum(self.children**level for level in range(self.depth))

    @property
    def size(self) -> int:
        """Number of features in the trees."""
        return self.roots + self.parents * self.children

    def children_of(self, parent: int) -> slice:
        """Name the children of a feature that has some."""
        first = self.roots + parent * self.children
        return slice(first, first + self.children)


class Rates(NamedTuple):
    """Firing rate of each feature, and the factor on what it asks for that was needed."""

    rates: tuple[float, ...]
    scale: float


def rates_at(
    asked: tuple[float, ...], scale: float, forest: Forest, share: float, exclusive: bool
) -> tuple[list[float], list[float]]:
    """Compute each feature's rate where it asks for scale · asked, and its derivative by the scale."""
    rates, slopes = [scale * a for a in asked], list(asked)
    for parent in range(forest.parents):
        mine = forest.children_of(parent)
        most, most_slope = share * rates[parent], share * slopes[parent]
        together = sum(rates[mine]) if exclusive else 0.0
        for child in range(mine.start, mine.stop):
            whole = together if exclusive else rates[child]
            if whole > most:
                part = rates[child] / whole
                rates[child], slopes[child] = part * most, part * most_slope
    return rates, slopes


@lru_cache(maxsize=8)
def solve_rates(asked: tuple[float, ...], active: float, forest: Forest, share: float, exclusive: bool) -> Rates:
    """Find the scale at which `active` features fire on average; what is found from below never overshoots.

    The sum of the rates is concave and piecewise linear in the scale, so Newton's method ends after a few steps.
    """
    scale, rates = active / sum(asked), []
    for _ in range(MOST_STEPS):
        rates, slopes = rates_at(asked, scale, forest, share, exclusive)
        missing = active - sum(rates)
        if missing <= 1e-12 * active:
            break
        scale += missing / sum(slopes)
    return Rates(tuple(rates), scale)
