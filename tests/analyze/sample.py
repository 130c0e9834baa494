"""Metrics as a run would give them: invented, but coherent, so that a report of them looks like a real one.

Histograms are of the values whose means stand beside them, chance levels are the distribution of the maximum
of n cosines, scores corrected for chance follow from both, and both of a pair's directions exist.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import beta, gaussian_kde

D_MODEL = 128
EVALUATION_ROWS = 32_512
CONTEXT = 128
RESIDUAL, MLP = "blocks.2.hook_resid_post", "blocks.2.hook_mlp_out"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COSINE_EDGES = np.linspace(0, 1, 51)
TOPK, RELU = ("topk", {"k": 32}), ("relu", {"l1_coefficient": 2.0})


def sample_metrics(
    sizes: Sequence[int] = (256, 512, 1024),
    hooks: Sequence[str] = (RESIDUAL, MLP),
    architectures: Sequence[tuple[str, dict[str, Any]]] = (TOPK, RELU),
    seeds: Sequence[int] = (0,),
) -> dict[str, Any]:
    """Build the content of a `metrics.json`: every hook × architecture × seed is a ladder of all sizes."""
    rng = np.random.default_rng(0)
    dictionaries, pairs = [], []
    for hook in hooks:
        for architecture, sparsity in architectures:
            for seed in seeds:
                ladder = [_dictionary(rng, hook, architecture, sparsity, seed, n) for n in sizes]
                dictionaries += ladder
                for small, large in pairwise(ladder):
                    pairs += [_pair(rng, small, large), _pair(rng, large, small)]
    return {
        "version": 3,
        "run": {
            "path": "runs/demo",
            "model": "data/tiny_gpt2",
            "text": "python-docs",
            "context": CONTEXT,
            "tokens": 600_000,
            "rows": 563_000,
            "positions": "skip_first 1",
        },
        "evaluation": {
            **{"sequences": 256, "rows": EVALUATION_ROWS, "dropped_sequences": None},
            "shared_ngrams": {"16": 0.094, "64": 0.015},
        },
        "dictionaries": dictionaries,
        "pairs": pairs,
        "activations": [
            _activations(rng, RESIDUAL, "residual", D_MODEL, heavy=1.2),
            _activations(rng, MLP, "mlp", D_MODEL, heavy=2.5),
            _activations(rng, "blocks.2.mlp.hook_post", "mlp", 4 * D_MODEL, heavy=6.0),
        ],
    }


def _dictionary(
    rng: np.random.Generator, hook: str, architecture: str, sparsity: dict[str, Any], seed: int, n: int
) -> dict[str, Any]:
    setting, strength = next(iter(sparsity.items()))
    l0 = min(strength, n) - 0.2 if architecture == "topk" else 90 / strength * (n / 256) ** 0.35
    fvu = 0.9 * (n * l0) ** -0.19 * (1.25 if hook == MLP else 1.0)
    rates = np.sort(np.exp(rng.normal(np.log(l0 / n), 1.6, n)).clip(0, 1))
    rates[: n // 60] = 0
    rates *= l0 / rates.sum()
    rates = rates.clip(0, 1)
    firings = np.round(rates * EVALUATION_ROWS)
    edges = np.linspace(-5, 0, 41)
    fires = firings > 0
    counts, _ = np.histogram(np.log10(firings[fires] / EVALUATION_ROWS), edges)
    dead, alive = float((~fires).mean()), float((firings > 10).mean())
    clean, zero, mean = 3.4, 8.1, 7.0
    patched = clean + (zero - clean) * fvu**2 * 0.6
    spread = np.zeros(5) if architecture == "topk" else np.array([-0.5, -0.2, 0, 0.2, 0.6])
    slug = f"{architecture}-{n}-{setting}{strength:g}-seed{seed}"
    return {
        "path": f"dictionaries/{hook}/{slug}",
        "hook": hook,
        "architecture": architecture,
        "n_latents": n,
        "d_model": D_MODEL,
        "seed": seed,
        "sparsity": sparsity,
        "rows": 1_200_000,
        "l0": l0,
        "l0_quantiles": {f"{q:g}": l0 * (1 + s) for q, s in zip(QUANTILES, spread, strict=True)},
        "fvu": fvu,
        "fvu_uncentred": fvu * 0.85,
        "fvu_rowwise": fvu * 1.08,
        "alive_fraction": alive,
        "dead_fraction": dead,
        "density": {"edges": edges.tolist(), "counts": counts.tolist(), "never": int((~fires).sum())},
        "ce": {
            "clean": clean,
            "patched": patched,
            "zero": zero,
            "mean": mean,
            "recovered": (zero - patched) / (zero - clean),
            "recovered_mean": (mean - patched) / (mean - clean),
            "kl": (patched - clean) * 0.9,
        },
        "curve": _curve(rng, fvu, l0, dead, falling=architecture == "relu"),
    }


def _curve(rng: np.random.Generator, fvu: float, l0: float, dead: float, falling: bool) -> dict[str, Any]:
    rows = np.arange(1, 147) * 8192
    progress = rows / rows[-1]
    fall = np.minimum(1 / fvu, progress ** -(0.25 if falling else 0.03) + np.exp(-progress * 30) / fvu)
    values = fvu * fall * np.exp(rng.normal(0, 0.004, rows.size))
    return {
        "rows": rows.tolist(),
        "loss": (values * D_MODEL).tolist(),
        "fvu": values.tolist(),
        "l0": (l0 * (1 + np.exp(-progress * 20))).tolist(),
        "dead": (dead * (1 - np.exp(-progress * 10))).tolist(),
    }


def chance_counts(n_from: int, n_to: int) -> np.ndarray:
    """Expect, per bin, this many of n_from latents when all directions are random; cosines below 0 are not shown."""
    signed = beta((D_MODEL - 1) / 2, (D_MODEL - 1) / 2, loc=-1, scale=2)  # a cosine's own distribution
    return n_from * np.diff(signed.cdf(COSINE_EDGES) ** n_to)


def _pair(rng: np.random.Generator, source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    n = round(source["n_latents"] * source["alive_fraction"])
    expected = chance_counts(n, target["n_latents"])
    centres = (COSINE_EDGES[:-1] + COSINE_EDGES[1:]) / 2
    null = float((expected * centres).sum() / expected.sum())
    present = 0.75 if source["n_latents"] < target["n_latents"] else 0.45
    shared = rng.random(n) < present
    cosines = np.where(shared, rng.beta(18, 2, n), rng.normal(null + 0.08, 0.05, n)).clip(0, 1)
    counts, _ = np.histogram(cosines, COSINE_EDGES)
    mmcs = float(cosines.mean())
    dead = source["dead_fraction"]
    return {
        "from": source["path"],
        "to": target["path"],
        "mmcs": mmcs,
        "mmcs_with_dead": mmcs * (1 - dead) + null * dead,
        "mmcs_null": null,
        "mmcs_corrected": (mmcs - null) / (1 - null),
        "matched_mean": mmcs * 0.94,
        "shared_fraction": float((cosines > 0.7).mean()) * 0.95,
        "max_cosines": {
            "edges": COSINE_EDGES.tolist(),
            "counts": counts.tolist(),
            "null": expected.tolist(),
            "quantiles": {f"{q:g}": float(np.quantile(cosines, q)) for q in QUANTILES},
        },
    }


def _activations(rng: np.random.Generator, hook: str, kind: str, width: int, heavy: float) -> dict[str, Any]:
    freedom = 4 + 6 / heavy * np.exp(rng.normal(0, 0.3, width))  # Student's t: its excess kurtosis is 6 / (freedom - 4)
    kurtosis = 6 / (freedom - 4)
    kurtosis[7] = 40 * np.median(kurtosis)
    variance = np.exp(rng.normal(0, 0.5, width))
    mean = rng.normal(0, 0.1, width) * np.sqrt(variance)
    mean[7] = 5.0
    values = rng.standard_t(4 + 6 / heavy, 100_000)
    values /= values.std()
    values[: round(0.02 * heavy * 1000)] = 0
    magnitudes = 2.0 ** np.arange(-8, 5, 0.5)
    edges = np.concatenate([-magnitudes[::-1], magnitudes])
    density, _ = np.histogram(values, edges, density=True)
    norms = rng.normal(np.sqrt(width), 1.5, 20_000)
    norm_edges = np.linspace(norms.min() * 0.9, norms.max() * 1.1, 61)
    norm_counts = gaussian_kde(norms[:2000])(norm_edges[:-1]) * 20_000 * np.diff(norm_edges)
    positions = np.sqrt(width) * (1 + 0.15 * np.exp(-np.arange(CONTEXT) / 8))
    return {
        "hook": hook,
        "kind": kind,
        "width": width,
        "rows": 563_000,
        "mean_norm": float(norms.mean()),
        "zeros": float((values == 0).mean()),
        "small": float((np.abs(values) < 1e-3).mean()),
        "histogram": {"edges": edges.tolist(), "density": density.tolist()},
        "kurtosis": kurtosis.tolist(),
        "variance": variance.tolist(),
        "mean": mean.tolist(),
        "skewness": rng.normal(0, 0.3, width).tolist(),
        "norms": {"edges": norm_edges.tolist(), "counts": np.round(norm_counts).tolist()},
        "position_norms": [None, *positions[1:].tolist()],  # position 0 was not harvested
        "outlier_dimensions": [7],
    }
