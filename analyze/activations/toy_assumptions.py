"""What toy data assume of features, and whether these codes agree: sparsity, decay, independence, magnitudes.

Toy data (Sharkey et al. 2022; winnow/toy) draw every feature as sparse, firing at a rate that falls geometrically from
feature to feature, independently of others unless told otherwise, with a magnitude that is uniform from 0 to its most.
Codes [row, unit] >= 0 are what stands in for features: a dictionary's latents, or the positive part of neurons.

    assumptions(dictionary.encode(x), np.random.default_rng(0))
    assumptions(neurons.clamp_min(0), np.random.default_rng(0))
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

UNITS = 256  # among which firing together is counted, drawn at random
VALUES = 8_000  # of magnitudes, in each half
SPARSE = 0.1  # share of units active at a time up to which a code counts as sparse
GEOMETRIC = 0.95  # R^2 of log rate on rank from which rates count as falling geometrically
DEPENDENT = 2  # times the dependence that independent units of equal rates show
LAWS = {
    "uniform": stats.uniform,
    "half_normal": stats.halfnorm,
    "exponential": stats.expon,
    "log_normal": stats.lognorm,
}


def assumptions(codes: Float[Tensor, "row unit"], random: np.random.Generator) -> dict[str, Any]:
    """Measure all four under the names of `metrics.json`, each with whether it agrees with what toy data assume.

    Units that never fire, or always do, say nothing and are left out of all but the sparsity.
    """
    fires = codes > 0
    rates = fires.double().mean(0)
    telling = (rates > 0) & (rates < 1)
    decay = geometric_decay(rates[telling].numpy())
    together = dependence(fires[:, telling], random)
    sizes = magnitudes(codes[:, telling], random)
    return {
        "active": float(rates.mean()) if len(rates) else float("nan"),
        "decay": decay,
        "dependence": together,
        "magnitudes": sizes,
        "agrees": {
            "sparsity": bool(rates.mean() <= SPARSE) if len(rates) else None,
            "decay": _if_known(decay["r2"], decay["r2"] >= GEOMETRIC),
            "independence": _if_known(together["phi"], together["phi"] <= DEPENDENT * together["null"]),
            "magnitudes": sizes["best"] and sizes["best"] == "uniform",
        },
    }


def geometric_decay(rates: NDArray[np.float64]) -> dict[str, float]:
    """Fit rate_i = c * factor^i over units in falling order of their rate; R^2 of the fit in logarithms."""
    if len(rates) < 3:
        return {"factor": float("nan"), "r2": float("nan")}
    y = np.log(np.sort(rates)[::-1])
    x = np.arange(len(y))
    fall = np.polyfit(x - x.mean(), y, 1)[0]
    # equal rates fall by the factor 1, exactly
    return {"factor": float(np.exp(fall)), "r2": float(np.corrcoef(x, y)[0, 1] ** 2) if np.ptp(y) > 0 else 1.0}


def dependence(fires: Bool[Tensor, "row unit"], random: np.random.Generator) -> dict[str, float]:
    """Average |phi|, the correlation of firing, over pairs of units, and over the same with their rows out of step."""
    rows, units = fires.shape
    if units < 2:
        return {"phi": float("nan"), "null": float("nan")}
    chosen = random.permutation(units)[:UNITS]
    kept = fires[:, torch.from_numpy(chosen)]
    shifts = torch.from_numpy(random.integers(rows, size=len(chosen)))  # each unit's rows, by another offset
    order = (torch.arange(rows)[:, None] + shifts) % rows
    return {"phi": _mean_phi(kept), "null": _mean_phi(kept.gather(0, order))}


def magnitudes(codes: Float[Tensor, "row unit"], random: np.random.Generator) -> dict[str, Any]:
    """Describe values above 0, each unit's divided by their mean: variation, and the law of highest likelihood.

    `variation` is the standard deviation over the mean: 0 for constants, 0.58 for the uniform law from 0, 0.76 for
    the half-normal, 1 for the exponential. Laws start at 0; they are fitted to one half of the values and judged by
    the mean log-likelihood of the other.
    """
    fires = codes > 0
    scaled = codes / (codes.sum(0) / fires.sum(0).clamp_min(1)).clamp_min(torch.finfo(torch.float32).tiny)
    values = scaled[fires].double().numpy()
    if len(values) < 100:
        return {"variation": float("nan"), "best": None, "log_likelihood": {}}
    drawn = values[random.permutation(len(values))[: 2 * VALUES]]
    fitted, judged = np.array_split(drawn, 2)
    likelihood = {}
    for name, law in LAWS.items():
        parameters = (0.0, drawn.max()) if name == "uniform" else law.fit(fitted, floc=0)
        likelihood[name] = float(law.logpdf(judged, *parameters).mean())
    best = max(likelihood, key=lambda name: likelihood[name])
    return {"variation": float(values.std()), "best": best, "log_likelihood": likelihood}


def _mean_phi(fires: Tensor) -> float:
    centred = fires.double() - fires.double().mean(0)
    scaled = centred / centred.norm(dim=0)
    phi = (scaled.T @ scaled).abs()
    n = len(phi)
    return float((phi.sum() - phi.diagonal().sum()) / (n * (n - 1)))


def _if_known(value: float, judged: bool) -> bool | None:
    return None if np.isnan(value) else bool(judged)
