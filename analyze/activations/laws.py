"""Find the distribution that fits a hook's values best: normal, Laplace, Student-t or generalised normal.

Each dimension is standardised and the values of all dimensions are pooled. Each distribution is fitted by maximum
likelihood to one half of a sample and judged by the mean log-likelihood of the other half, so that extra parameters
give no advantage.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

VALUES = 8_000  # in each half
EDGES = np.linspace(-8, 8, 65)  # of the histogram of the held-out values
LAWS = {"normal": stats.norm, "laplace": stats.laplace, "student_t": stats.t, "generalised_normal": stats.gennorm}


def fit_laws(values: NDArray[np.float64], random: np.random.Generator) -> dict[str, Any]:
    """Fit every law to `values` [row, d]: held-out mean log-likelihood in nats per value, and the best law.

    `histogram` is the density of the held-out values up to 8 standard deviations from zero, as a share of all of them.
    """
    spread = values.std(0)
    kept = values[:, spread > 0]
    standard = ((kept - kept.mean(0)) / spread[spread > 0]).ravel()
    if len(standard) < 100:
        return {"best": None, "laws": {}, "histogram": None}
    drawn = random.permutation(len(standard))[: 2 * VALUES]
    fitted, judged = np.array_split(standard[drawn], 2)
    laws = {}
    with np.errstate(over="ignore"):  # of a power, in tails that are none
        for name, law in LAWS.items():
            parameters = law.fit(fitted)
            laws[name] = {
                "log_likelihood": float(law.logpdf(judged, *parameters).mean()),
                "parameters": [float(p) for p in parameters],
            }
    best = max(laws, key=lambda name: laws[name]["log_likelihood"])
    return {"best": best, "laws": laws, "histogram": _histogram(judged)}


def _histogram(judged: NDArray[np.float64]) -> dict[str, NDArray]:
    counts = np.histogram(judged, EDGES)[0]
    used = np.nonzero(counts)[0]
    part = slice(used[0], used[-1] + 1)
    edges = EDGES[used[0] : used[-1] + 2]
    return {"edges": edges, "density": counts[part] / (len(judged) * np.diff(edges))}
