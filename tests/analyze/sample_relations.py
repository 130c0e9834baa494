"""The part of invented metrics that relates dictionaries: what stands beside a score, and which feature is whose child.

Families are planted: feature i of a size has the children 2i and 2i + 1 in a size twice as large, but for every
fourth, which persists, and every seventh, which vanishes.
"""

from itertools import pairwise
from typing import Any

import numpy as np

TERMS = 4


def with_relations(metrics: dict[str, Any]) -> dict[str, Any]:
    """Add every key that sample_metrics leaves out, as `analyze.collect.metrics` would write them."""
    rng = np.random.default_rng(1)
    for d in metrics["dictionaries"]:
        d |= _of_dictionary(d)
    for pair in metrics["pairs"]:
        pair |= _of_pair(pair)
    for hook in metrics["activations"]:
        hook |= _of_hook(rng, hook)
    chains = _chains(metrics["dictionaries"])
    return metrics | {
        "ceilings": _ceilings(metrics),
        "families": [_family(a, b) for chain in chains for a, b in pairwise(chain)],
        "lineages": [_lineage(chain) for chain in chains if len(chain) > 2],
        "choosing": [_grid(metrics["dictionaries"][0])],
    }


def _of_dictionary(d: dict[str, Any]) -> dict[str, Any]:
    fvu = d["fvu"]
    return {
        "baselines": {"pca": 1.5 * fvu, "kmeans": 0.9, "random": 2 * fvu, "untrained": 3.0},
        "shrinkage": {"0.05": 0.9, "0.25": 1.0, "0.5": 1.2, "0.75": 1.3, "0.95": 1.6},
        "convergence": {
            **{"slope": -0.03, "self_similarity": 0.95, "start_similarity": 0.4, "loss_share": 0.2},
            **{"converged": True, "stalled": False, "caveat": None, "reason": None},
        },
        "snapshots": {"rows": [1000, 2000, 4000], "similarity": [0.3, 0.6, 0.9], "recovered": [0.0, 0.4, 0.8]},
        "toy": _toy(),
    }


def _of_pair(pair: dict[str, Any]) -> dict[str, Any]:
    bins = [{"from": x, "to": x + 1.0, "count": 10, "mean": 0.5 + 0.1 * x} for x in (-3.0, -2.0, -1.0)]
    thresholds = np.linspace(0, 1, 51)
    tested = {"score": 0.8, "null": 0.3, "p": 0.005}
    return {
        "above_chance": 0.9,
        "mmcs_null_isotropic": pair["mmcs_null"] - 0.05,
        "mmcs_corrected_isotropic": pair["mmcs_corrected"] + 0.03,
        "matched_above_0.9": 0.2,
        "matched_above_0.7": 0.5,
        "scale_aware": pair["mmcs"] + 0.02,
        "recovery": {"thresholds": thresholds.tolist(), "shares": (1 - thresholds**2).tolist()},
        "by_firing_rate": bins,
        "diagnosis": {
            **{"present": 0.5, "composed": 0.2, "absent": 0.3, "r2": [0.5, 0.6, 0.65, 0.7]},
            "random": {"present": 0.0, "composed": 0.1, "absent": 0.9, "r2": [0.2, 0.3, 0.35, 0.4]},
            "participation": {"0.05": 1.0, "0.25": 1.5, "0.5": 2.0, "0.75": 3.0, "0.95": 3.9},
        },
        "functional": {
            **{"correlation": 0.6, "jaccard": 0.4, "masked_to_target": 0.7, "masked_to_source": 0.5},
            **{"jaccard_null": 0.05, "masked_to_target_null": 0.2, "masked_to_source_null": 0.15},
        },
        "stitching": {"novel": 0.4, "novel_to_itself": 0.01, "auc": 0.8},
        "meta": {"explained": 0.6, "random": 0.2},
        "subspaces": {
            **{"pairs": 20, "correlation": 0.5, "cka": tested, "svcca": tested},
            "angles": {"dimensions": [10, 12], "degrees": [5.0, 20.0, 70.0], "overlap": tested},
        },
    }


def _of_hook(rng: np.random.Generator, hook: dict[str, Any]) -> dict[str, Any]:
    width = hook["width"]
    shares = np.sort(rng.exponential(size=width))[::-1]
    shares /= shares.sum()
    edges = np.linspace(-4, 4, 33)
    centres = (edges[1:] + edges[:-1]) / 2
    return {
        "fits": {
            "best": "student_t",
            "laws": {
                "normal": {"log_likelihood": -1.42, "parameters": [0.0, 1.0]},
                "laplace": {"log_likelihood": -1.45, "parameters": [0.0, 0.75]},
                "student_t": {"log_likelihood": -1.40, "parameters": [8.0, 0.0, 0.9]},
                "generalised_normal": {"log_likelihood": -1.41, "parameters": [1.6, 0.0, 1.2]},
            },
            "histogram": {
                "edges": edges.tolist(),
                "density": (np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)).tolist(),
            },
        },
        "spectrum": {
            "shares": shares.tolist(),
            "participation_ratio": float(1 / (shares**2).sum()),
            "participation_ratio_standardised": 0.8 * width,
        },
        "privileged_basis": _basis(2.0, 0.3),
        "toy": _toy(),
    }


def _basis(along: float, rotation: float) -> dict[str, float]:
    return {
        "along_basis": along,
        "along_rotation": rotation,
        "median_along_basis": along,
        "median_along_rotation": rotation,
    }


def _toy() -> dict[str, Any]:
    return {
        "active": 0.02,
        "decay": {"factor": 0.99, "r2": 0.9},
        "dependence": {"phi": 0.05, "null": 0.01},
        "magnitudes": {"variation": 0.7, "best": "half_normal", "log_likelihood": {}},
        "agrees": {"sparsity": True, "decay": False, "independence": False, "magnitudes": None},
    }


def _chains(dictionaries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    chains: dict[str, list[dict[str, Any]]] = {}
    for d in dictionaries:
        chains.setdefault(repr((d["hook"], d["architecture"], d["seed"])), []).append(d)
    return [chain for chain in chains.values() if len(chain) > 1]


def _ceilings(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare every two seeds; without a second one there is no ceiling."""
    scores = {key: metrics["pairs"][0][key] for key in ("mmcs", "mmcs_null", "mmcs_corrected", "matched_mean")}
    seeds = metrics["dictionaries"]
    same = ("hook", "architecture", "n_latents")
    return [
        {"from": a["path"], "to": b["path"], **scores}
        for a in seeds
        for b in seeds
        if a["seed"] != b["seed"] and all(a[key] == b[key] for key in same)
    ]


def _family(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    edges = []
    for i in range(a["n_latents"]):
        children = [] if i % 7 == 6 else [2 * i] if i % 4 == 3 else [2 * i, 2 * i + 1]
        edges += [[i, child, 0.95 if len(children) == 1 else 0.75 - 0.1 * (child % 2), 0.7] for child in children]
    parents = {child for _, child, *_ in edges}
    counts = np.bincount([parent for parent, *_ in edges], minlength=a["n_latents"])
    return {
        "from": a["path"],
        "to": b["path"],
        "persists": int((counts == 1).sum()),
        "splits": int((counts > 1).sum()),
        "vanished": int((counts == 0).sum()),
        "new": round(b["alive_fraction"] * b["n_latents"]) - len(parents),
        "merges": 0,
        **_rests_on(edges),
        "edges": edges,
    }


def _rests_on(edges: list[list[Any]]) -> dict[str, int]:
    near, alike = (np.array([edge[place] >= least for edge in edges]) for place, least in ((2, 0.7), (3, 0.6)))
    found = {"by_cosine": near & ~alike, "by_masked": alike & ~near, "by_both": near & alike}
    counts = {name: int(mask.sum()) for name, mask in found.items()}
    return {"mutual": len({edge[0] for edge in edges}), "cosine_random": 0, **counts}


def _lineage(chain: list[dict[str, Any]]) -> dict[str, Any]:
    n = len(chain)
    survival = [[None if j < i else 0.8 ** (j - i) for j in range(n)] for i in range(n)]
    return {"paths": [d["path"] for d in chain], "survival": survival, "sizes": []}


def _grid(d: dict[str, Any]) -> dict[str, Any]:
    keys = ("mmcs_next", "mmcs_next_corrected", "fvu", "l0", "dead_fraction")
    return {
        **{key: d[key] for key in ("hook", "architecture", "seed")},
        **{"options": {}, "sparsity": "k", "sizes": [256, 512], "sparsities": [8.0, 16.0]},
        **{key: [[0.5, 0.25], [0.125, None]] for key in keys},
        "stickiness": {"deprecated": True, "mse_by_size": [[0.1, 0.2], [0.3, None]], "l1_by_size": [[None] * 2] * 2},
    }
