"""Which law describes the values of a hook best: normal, Laplace, Student-t or generalised normal.

Each dimension is standardised, values of all dimensions are pooled, every law is fitted by maximum likelihood to
one half of a sample and judged by the mean log-likelihood of the other half: more parameters buy nothing there.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

VALUES = 8_000  # in each half
LAWS = {"normal": stats.norm, "laplace": stats.laplace, "student_t": stats.t, "generalised_normal": stats.gennorm}


def fit_laws(values: NDArray[np.float64], random: np.random.Generator) -> dict[str, Any]:
    """Fit every law to `values` [row, d]: mean log-likelihood in nats per value on held-out ones, and the best."""
    spread = values.std(0)
    kept = values[:, spread > 0]
    standard = ((kept - kept.mean(0)) / spread[spread > 0]).ravel()
    if len(standard) < 100:
        return {"best": None, "laws": {}}
    drawn = random.permutation(len(standard))[: 2 * VALUES]
    fitted, judged = np.array_split(standard[drawn], 2)
    laws = {}
    for name, law in LAWS.items():
        parameters = law.fit(fitted)
        laws[name] = {
            "log_likelihood": float(law.logpdf(judged, *parameters).mean()),
            "parameters": [float(p) for p in parameters],
        }
    return {"best": max(laws, key=lambda name: laws[name]["log_likelihood"]), "laws": laws}
