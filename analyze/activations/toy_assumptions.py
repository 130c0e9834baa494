"""Test whether codes agree with what toy data assume of features: sparsity, decay, independence, magnitudes.

Features of toy data (Sharkey et al. 2022; winnow/toy) are sparse. Their firing rates fall geometrically from feature
to feature, they fire independently unless configured otherwise, and their magnitudes are uniform from 0 to a maximum.
Codes [row, unit] >= 0 stand in for features: a dictionary's latents, or the positive part of neurons.

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

UNITS = 256  # random units among which dependence is measured
VALUES = 8_000  # magnitudes in each half
SPARSE = 0.1  # most units active at a time, as a share, in a sparse code
GEOMETRIC = 0.95  # least R^2 of log rate on rank at which rates count as falling geometrically
DEPENDENT = 2  # multiple of the dependence of independent units with equal rates
LAWS = {
    "uniform": stats.uniform,
    "half_normal": stats.halfnorm,
    "exponential": stats.expon,
    "log_normal": stats.lognorm,
}


def assumptions(codes: Float[Tensor, "row unit"], random: np.random.Generator) -> dict[str, Any]:
    """Measure all four, named as in `metrics.json`, each with whether it agrees with toy data.

    Units that never fire, or always fire, are left out of all measures but the sparsity.
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
    """Fit rate_i = c * factor^i over units sorted by falling rate; R^2 is of the fit in logarithms."""
    if len(rates) < 3:
        return {"factor": float("nan"), "r2": float("nan")}
    y = np.log(np.sort(rates)[::-1])
    x = np.arange(len(y))
    fall = np.polyfit(x - x.mean(), y, 1)[0]
    # equal rates: the factor is exactly 1
    return {"factor": float(np.exp(fall)), "r2": float(np.corrcoef(x, y)[0, 1] ** 2) if np.ptp(y) > 0 else 1.0}


def dependence(fires: Bool[Tensor, "row unit"], random: np.random.Generator) -> dict[str, float]:
    """Average |phi|, the correlation of firing, over pairs of units, and again with each unit's rows shifted."""
    rows, units = fires.shape
    if units < 2:
        return {"phi": float("nan"), "null": float("nan")}
    chosen = random.permutation(units)[:UNITS]
    kept = fires[:, torch.from_numpy(chosen)]
    shifts = torch.from_numpy(random.integers(rows, size=len(chosen)))  # a random offset for each unit's rows
    order = (torch.arange(rows)[:, None] + shifts) % rows
    return {"phi": _mean_phi(kept), "null": _mean_phi(kept.gather(0, order))}


def magnitudes(codes: Float[Tensor, "row unit"], random: np.random.Generator) -> dict[str, Any]:
    """Describe positive values, divided by their unit's mean: variation, and the law of highest likelihood.

    `variation` is the standard deviation over the mean: 0 for constants, 0.58 for the uniform law from 0, 0.76 for
    the half-normal, 1 for the exponential. Laws start at 0; they are fitted to one half of the values and judged by
    the mean log-likelihood of the other half.
    """
    fires = codes > 0
    total = codes.sum(0)
    if not bool(total.isfinite().all()):  # values near the largest float32
        total = codes.sum(0, dtype=torch.float64)
    scaled = codes / (total / fires.sum(0).clamp_min(1)).clamp_min(torch.finfo(torch.float32).tiny)
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
