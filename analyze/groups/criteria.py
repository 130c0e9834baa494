"""Report the cell (size and sparsity) that each truth-free criterion picks, and its regret by the known truth.

    results = verdict(grid, truth)
    results["converged"]["criteria"]["mmcs_next_corrected"]["picked"]    # the cell, with its scores
    results["converged"]["criteria"]["mmcs_next_corrected"]["regret"]    # best cell's score minus the picked cell's

Each criterion is a table over the grid, and picks the cell with the largest value:

    mmcs_next              MMCS with the next larger dictionary at equal sparsity (Sharkey et al. 2022), uncorrected
    mmcs_next_corrected    the same, corrected for chance
    mmcs_next_living       the same, corrected, for cells with at most a tenth of the latents dead
    elbow                  distance of a cell below the line between the ends of the Pareto front of FVU against log L0,
                           both scaled to 0 … 1 over the front
    decoder_cosine         the smallest mean |cosine| of the living decoder directions with one another (Chanin and
                           Garriga-Alonso 2025, 2508.16560): latents that mix features, since too few or too many are
                           active, share parts of their directions. It is a guide to sparsity, at one size

Two scores measure a cell against the truth: `found`, the MMCS from the true features to the learned ones, corrected
for chance; and `alike`, the smaller of `found` and the same MMCS in the other direction, which penalises learned
features that are not in the truth.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

MANY_DEAD = 0.1
ALONE = ("elbow", "decoder_cosine")  # criteria of a dictionary alone, not of a pair
Table = NDArray[np.float64]  # [size, sparsity]; NaN where there is no value


def verdict(grid: Mapping[str, Any], truth: Mapping[str, Table]) -> dict[str, Any] | None:
    """Compare each criterion's pick with the best cell by the truth; None if the truth is not known.

    Criteria pick once among the `converged` cells and once among `all`; those that compare with the next larger
    dictionary require that it has converged too. The best cell is always the best of all, converged or not.

    `grid`: its tables `converged` (1, 0), `mmcs_next`, `mmcs_next_corrected`, `dead_fraction`, `decoder_cosine`, `fvu`,
    `l0`, its axes `sizes` and `sparsities`. `truth`: `mmcs_corrected`, `learned`, `recovered`, and the
    number of true `features`.
    """
    found, learned = truth["mmcs_corrected"], truth["learned"]
    if not np.isfinite(found).any():
        return None
    judges = {"found": found, "alike": np.minimum(found, learned)}
    scores = {**judges, "learned": learned, "recovered": truth["recovered"]}
    done = np.asarray(grid["converged"]) == 1

    def cell(table: Table) -> dict[str, Any] | None:
        if not np.isfinite(table).any():
            return None
        i, j = np.unravel_index(np.nanargmax(table), table.shape)
        return {
            "n_latents": grid["sizes"][i],
            "sparsity": grid["sparsities"][j],
            "size_ratio": float(grid["sizes"][i] / truth["features"][i, j]),
            "converged": bool(done[i, j]),
            **{name: float(values[i, j]) for name, values in scores.items()},
        }

    def among(cells: NDArray[np.bool_], pairs: NDArray[np.bool_]) -> dict[str, Any]:
        results = {}
        for name, values in criteria(grid).items():
            allowed = np.where(cells if name in ALONE else pairs, values, np.nan)
            results[name] = {"cells": int(np.isfinite(allowed).sum()), "picked": (picked := cell(allowed))}
            for judge, suffix in (("found", ""), ("alike", "_alike")):
                known = np.isfinite(judges[judge]).any()
                regret = float(np.nanmax(judges[judge])) - picked[judge] if picked is not None and known else None
                results[name] |= {
                    f"regret{suffix}": regret,
                    f"rank_correlation{suffix}": rank_correlation(allowed, judges[judge]),
                }
        return {"cells": int((cells & np.isfinite(found)).sum()), "criteria": results}

    everywhere = np.ones_like(done)
    return {
        "best": {judge: cell(values) for judge, values in judges.items()},
        "converged": among(done, done & _next_larger(done, grid["fvu"])),
        "all": among(everywhere, everywhere),
    }


def criteria(grid: Mapping[str, Any]) -> dict[str, Table]:
    """Compute each criterion's table; it picks the cell with the largest value."""
    dead = grid["dead_fraction"]
    corrected = grid["mmcs_next_corrected"]
    return {
        "mmcs_next": grid["mmcs_next"],
        "mmcs_next_corrected": corrected,
        "mmcs_next_living": np.where(dead <= MANY_DEAD, corrected, np.nan),
        "elbow": elbow(grid["l0"], grid["fvu"]),
        "decoder_cosine": -grid["decoder_cosine"],
    }


def elbow(l0: Table, fvu: Table) -> Table:
    """Compute how far each cell of the Pareto front lies below the line between the front's ends; NaN off it."""
    found = np.full(l0.shape, np.nan)
    front: list[tuple[int, ...]] = []
    lowest = np.inf
    for place in sorted(np.argwhere(np.isfinite(fvu) & (l0 > 0)).tolist(), key=lambda p: (l0[tuple(p)], fvu[tuple(p)])):
        if fvu[tuple(place)] < lowest:
            front.append(tuple(place))
            lowest = fvu[tuple(place)]
    if len(front) < 3:
        return found
    x = np.array([np.log(l0[place]) for place in front])
    y = np.array([fvu[place] for place in front])
    below = (x[-1] - x) / (x[-1] - x[0]) - (y - y[-1]) / (y[0] - y[-1])
    for place, distance in zip(front, below / np.sqrt(2), strict=True):
        found[place] = distance
    return found


def rank_correlation(a: Table, b: Table) -> float:
    """Compute Spearman's correlation over cells where both are known; NaN with under three cells, or for constants."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3 or any(np.ptp(values[known]) == 0 for values in (a, b)):
        return float("nan")
    found: Any = spearmanr(a[known], b[known])
    return float(found.statistic)


def _next_larger(done: NDArray[np.bool_], fvu: Table) -> NDArray[np.bool_]:
    """Tell for each cell whether the next larger dictionary in its column, skipping gaps, has converged."""
    found = np.zeros_like(done)
    for column in range(done.shape[1]):
        there = np.nonzero(np.isfinite(fvu[:, column]))[0]
        for small, large in pairwise(there):
            found[small, column] = done[large, column]
    return found
