"""Metrics of a run of toy data beside a real one: invented scores, from which everything else follows as in a run."""

from typing import Any

from analyze.collect.metrics import over_entries
from analyze.groups.grid import grids
from tests.analyze.sample import sample_metrics
from tests.analyze.sample_relations import with_relations
from winnow.runtime.to_json import to_json

FEATURES, D_MODEL = 32, 128
ROWS = [1000, 2000, 4000, 8000]
L1 = (0.5, 2.0)


def truth_metrics(sizes: tuple[int, ...] = (16, 32, 64), seeds: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """Build a grid of sizes and sparsities for each seed; of the larger ones, those of the first sparsity converged."""
    kinds = [("relu", {"l1_coefficient": value}) for value in L1]
    metrics = with_relations(sample_metrics(sizes=sizes, hooks=("toy",), architectures=kinds, seeds=seeds))
    for d in metrics["dictionaries"]:
        sparsity = d["sparsity"]["l1_coefficient"]
        d |= {"truth": _scores(d["n_latents"], sparsity, d["seed"]), "options": {"initialisation": "random"}}
        d |= {"learning_rate": 1e-3, "mse": 0.5 * sparsity, "l1": 2 / sparsity}
        d["convergence"] |= {"converged": sparsity == L1[0], "reason": "converged", "held_at": 6000.0}
    for pair in metrics["pairs"]:
        pair["snapshots"] = {"rows": ROWS, "mmcs_corrected": [0.0, 0.1, 0.4, 0.5]}
    toy = {**metrics["activations"][0], "hook": "toy", "kind": "toy", "run": "runs/toy"}
    toy |= {"privileged_basis": dict.fromkeys(toy["privileged_basis"], 0.3)}
    metrics["activations"] = [toy, {**metrics["activations"][1], "run": "runs/demo"}]
    entries = metrics["dictionaries"]
    return metrics | to_json(
        {"choosing": grids(entries, metrics["pairs"]), "truth": _truth(toy["toy"]), **over_entries(entries)}
    )


def _scores(n: int, sparsity: float, seed: int) -> dict[str, Any]:
    found = min(1.0, n / FEATURES) * (0.9 if sparsity == L1[0] else 0.4) - 0.01 * seed
    back = min(1.0, FEATURES / n) * 0.8
    spread = {"mean": found, **dict.fromkeys(("0.05", "0.25", "0.5", "0.75", "0.95"), found)}
    rates = [{"from": -3.0, "to": -2.0, "count": 16, "cosine": found, "precision": 0.5, "recall": 0.5, "f1": 0.5}]
    rates[0] |= {"mcc": 0.4}
    means = {"precision": 0.9, "recall": found, "f1": found, "mcc": found}
    return {
        **{"mmcs": 0.9, "mmcs_null": 0.3, "mmcs_corrected": found, "matched_mean": found, "recovered": found},
        **{"mmcs_null_isotropic": 0.29, "mmcs_corrected_isotropic": found + 0.01},
        "learned": {"mmcs": 0.9, "mmcs_null": 0.3, "mmcs_corrected": back},
        "recovery": {"thresholds": [0.0, 0.5, 1.0], "shares": [1.0, found, 0.0]},
        "size_ratio": n / FEATURES,
        "firing": dict.fromkeys(("precision", "recall", "f1", "mcc"), spread),
        "structure": {
            **{"parents_found": found, "absorption": 1 - found, "parents_absorbed": 0.25, "split": 0.1, "pieces": 2.5},
            **{"parents": means, "children": means},
        },
        "by_firing_rate": [*rates, {**rates[0], "from": -2.0, "to": -1.0}],
        "snapshots": {"rows": ROWS, "recovered": [0.0, 0.1, 0.6, found], "mmcs_corrected": [None, 0.2, 0.5, found]},
        "rows_to_half": 3500.0 + 100 * seed,
        "steepest": {"rows": 2828.4, "per_doubling": 0.5},
    }


def _truth(codes: dict[str, Any]) -> dict[str, Any]:
    spread = {"mean": 0.2, **dict.fromkeys(("0.05", "0.25", "0.5", "0.75", "0.95"), 0.2)}
    return {
        **{"path": "truth", "features": FEATURES, "d_model": D_MODEL, "features_per_dimension": FEATURES / D_MODEL},
        "settings": {
            **{"n_features": FEATURES, "active": 5.0, "directions": "sphere", "decay": 0.99, "common": 0.5},
            **{"decay_form": "geometric", "causes": 32, "magnitude": "uniform"},
        },
        "regime": {
            **{"name": "mild", "looks_like": "sphere", "dimensionality": spread, "dimensionality_random": 0.8},
            **{"antipodal_share": 0.0, "mean_max_cosine": 0.2, "mean_max_cosine_random": 0.2},
            "mean_max_abs_cosine": 0.25,
        },
        "firing_rates": spread,
        "trees": {"roots": 2, "parents": 2, "children": 6, "siblings": "exclusive", "rows_with_child": 0.8},
        "codes": codes,
    }
