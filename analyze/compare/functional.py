"""Measure whether pairs of latents of two dictionaries fire alike on the same rows.

Latents with equal decoder directions need not fire alike. For each pair (i, j) of a latent of A and one of B:
the correlation of their values over all rows, the Jaccard index of the rows on which they fire, and the masked
cosine, which is the cosine of their values over only the rows on which the target fires (1 if i is proportional
to j there, whatever i does on other rows).

Latents that fire often agree without having anything to do with each other: if both are above zero on half of the
rows, their Jaccard index is 1/3. So beside each stands what independent latents of the same values would give.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.evaluation.sample import CELLS, batches
from winnow.dictionary import Dictionary

PAIRS = 2048  # pairs compared at a time on a batch of rows


class Agreement(NamedTuple):
    """One value per pair; NaN if a latent never fires on the rows that count."""

    correlation: Float[Tensor, " pair"]
    jaccard: Float[Tensor, " pair"]
    masked_to_b: Float[Tensor, " pair"]  # over the rows on which B's latent fires
    masked_to_a: Float[Tensor, " pair"]
    jaccard_null: Float[Tensor, " pair"]  # if both had the same values, but independently
    masked_to_b_null: Float[Tensor, " pair"]
    masked_to_a_null: Float[Tensor, " pair"]

    def turned(self) -> "Agreement":
        """Exchange A and B."""
        forth = (self.masked_to_b, self.masked_to_b_null)
        turned = self._replace(masked_to_b=self.masked_to_a, masked_to_b_null=self.masked_to_a_null)
        return turned._replace(masked_to_a=forth[0], masked_to_a_null=forth[1])


@torch.no_grad()
def functional_agreement(
    a: Dictionary,
    b: Dictionary,
    rows: Float[Tensor, "row d_model"],
    pairs: tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]],
    cells: int = CELLS,
) -> Agreement:
    """Compare latents `pairs[0]` of `a` with latents `pairs[1]` of `b`, pair by pair, over `rows`.

    At most about `cells` latent values are in memory at a time.
    """
    of_a, of_b = _Sums(a.n_latents), _Sums(b.n_latents)
    names = ("xy", "both", "xx_on_y", "yy_on_x")
    sums = {name: torch.zeros(len(pairs[0]), dtype=torch.float64) for name in names}
    chunks = list(zip(*(indices.split(PAIRS) for indices in pairs), strict=True))
    for part in batches(rows, 3 * (a.n_latents + b.n_latents), cells):
        # latents before rows: each latent's values are then contiguous in memory
        x, y = (dictionary.encode(part).T.contiguous() for dictionary in (a, b))  # (latent, row)
        xx, yy, on_x, on_y = x.square(), y.square(), (x > 0).float(), (y > 0).float()
        of_a.add(x, xx, on_x)
        of_b.add(y, yy, on_y)
        for number, (i, j) in enumerate(chunks):
            place = slice(number * PAIRS, number * PAIRS + len(i))
            there, here = on_x[i], on_y[j]  # (pair, row)
            terms = ((x[i], y[j]), (there, here), (xx[i], here), (yy[j], there))
            for name, (left, right) in zip(names, terms, strict=True):
                sums[name][place] += torch.linalg.vecdot(left, right).double().cpu()
    p, q = (sums_of.take(latents) for sums_of, latents in zip((of_a, of_b), pairs, strict=True))
    n = len(rows)
    covariance = sums["xy"] - p.values * q.values / n
    spread = (p.squares - p.values.square() / n) * (q.squares - q.values.square() / n)
    chance = p.firings * q.firings / n
    product = p.values * q.values / n
    return Agreement(
        covariance / spread.clamp_min(0).sqrt(),
        sums["both"] / (p.firings + q.firings - sums["both"]),
        sums["xy"] / (sums["xx_on_y"] * q.squares).sqrt(),
        sums["xy"] / (sums["yy_on_x"] * p.squares).sqrt(),
        chance / (p.firings + q.firings - chance),
        product / (p.squares * q.firings / n * q.squares).sqrt(),
        product / (q.squares * p.firings / n * p.squares).sqrt(),
    )


class _Sums:
    """Sums per latent over rows, in float64: values, squares, and the number of rows on which it fires."""

    def __init__(self, n_latents: int) -> None:
        self.values, self.squares, self.firings = torch.zeros(3, n_latents, dtype=torch.float64)

    def add(self, *parts: Float[Tensor, "latent row"]) -> None:
        for total, part in zip((self.values, self.squares, self.firings), parts, strict=True):
            total += part.sum(1).double().cpu()

    def take(self, latents: Tensor) -> "_Sums":
        """Return the sums of the chosen latents."""
        taken = _Sums(0)
        taken.values, taken.squares, taken.firings = self.values[latents], self.squares[latents], self.firings[latents]
        return taken
