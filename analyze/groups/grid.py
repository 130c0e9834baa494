"""Arrange dictionaries in grids of size and sparsity, to help choose both (Sharkey et al. 2022).

    for grid in grids(entries, pairs):
        grid["sizes"], grid["sparsities"]      # the axes' values: rows are sizes, columns sparsities
        grid["dead_fraction"][i][j]

A dictionary that is too large has dead latents, and few of its features recur in the next larger one. The hypothesis
is that agreement between sizes is highest at the right size and sparsity. Where the truth is known, `verdict` in
analyze/groups/criteria.py tests it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyze.groups.criteria import verdict
from analyze.ladders import TRAINING, kind_of

Entry = Mapping[str, Any]
LOSS_TERMS = ("mse", "l1")
COPIED = ("dead_fraction", "alive_fraction", "l0", "fvu", "decoder_cosine", *LOSS_TERMS)


def grids(entries: Sequence[Entry], pairs: Sequence[Entry]) -> list[dict[str, Any]]:
    """Arrange the dictionaries of each hook, architecture and seed by size (rows) and sparsity (columns).

    `entries` and `pairs` come from `metrics.json`. Cells that were not trained or not measured are NaN; a single
    dictionary makes no grid.
    """
    found: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        if len(entry["sparsity"]) == 1:
            kind = kind_of(entry, but=("n_latents", "sparsity", *TRAINING))
            found.setdefault((kind, *entry["sparsity"]), []).append(entry)
    scores = {(pair["from"], pair["to"]): pair for pair in pairs}
    return [_grid(group, scores) for group in found.values() if len(group) > 1]


def stickiness(losses: NDArray[np.float64], along: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Compute |d log loss / d log along| by central differences (one-sided at the ends) along an axis of the grid.

    Its authors no longer recommend it for choosing size and sparsity; it is here for comparison with their published
    results. NaN along an axis of one value, and where a neighbour is missing.
    """
    if len(along) < 2:
        return np.full(losses.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.gradient(np.log(losses), np.log(along), axis=axis))


def _grid(group: Sequence[Entry], scores: Mapping[tuple[str, str], Entry]) -> dict[str, Any]:
    first = group[0]
    (name,) = first["sparsity"]
    sizes = sorted({entry["n_latents"] for entry in group})
    sparsities = sorted({entry["sparsity"][name] for entry in group})
    at = {(entry["n_latents"], entry["sparsity"][name]): entry for entry in group}

    def table(value: Callable[[Entry], float | None]) -> NDArray[np.float64]:
        """Build the table [size, sparsity] of one value per dictionary."""
        cells = [[value(at[n, s]) if (n, s) in at else None for s in sparsities] for n in sizes]
        return np.array(cells, dtype=np.float64)

    def to_next_larger(key: str) -> Callable[[Entry], float | None]:
        def value(entry: Entry) -> float | None:
            larger = [at[n, entry["sparsity"][name]] for n in sizes if (n, entry["sparsity"][name]) in at]
            larger = [other for other in larger if other["n_latents"] > entry["n_latents"]]
            return scores.get((entry["path"], larger[0]["path"]), {}).get(key) if larger else None

        return value

    def of_truth(*keys: str) -> NDArray[np.float64]:
        def value(entry: Entry) -> float | None:
            inner: Any = entry.get("truth")
            for key in keys:
                inner = inner and inner[key]
            return inner

        return table(value)

    axes = {"sparsity": (np.array(sparsities, dtype=float), 1), "size": (np.array(sizes, dtype=float), 0)}
    found: dict[str, Any] = {
        "hook": first["hook"],
        "architecture": first["architecture"],
        "options": first.get("options") or {},
        "seed": first["seed"],
        "sparsity": name,
        "sizes": sizes,
        "sparsities": sparsities,
        **{key: table(lambda entry, key=key: entry.get(key)) for key in COPIED},
        "converged": table(lambda entry: (entry.get("convergence") or {}).get("converged")),
        "mmcs_next": table(to_next_larger("mmcs")),
        "mmcs_next_corrected": table(to_next_larger("mmcs_corrected")),
    }
    sticky = {
        f"{term}_by_{axis}": stickiness(found[term], values, place)
        for term in LOSS_TERMS
        for axis, (values, place) in axes.items()
    }
    truth = {
        "mmcs": of_truth("mmcs"),
        "mmcs_corrected": of_truth("mmcs_corrected"),
        "learned": of_truth("learned", "mmcs_corrected"),
        "recovered": of_truth("recovered"),
        "features": np.array(sizes)[:, None] / of_truth("size_ratio"),
    }
    judged = verdict(found, truth)
    return {
        **found,
        "stickiness": {"deprecated": True, **sticky},
        "truth": None if judged is None else {key: values for key, values in truth.items() if key != "features"},
        "verdict": judged,
    }
