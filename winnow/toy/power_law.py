"""Draw which toy features fire if the decay is a power, p_i = scale · u_i^(λ·i).

A rare feature fires only if its u is near 1, so no bound on p_i excludes most pairs: the normal of every pair is drawn
first, and excludes most of them. Feature i fires where V < scale · u_i^(λ·i) for a uniform V. With w = −log(V / scale)
that is −log u_i < w / (λ·i); and w is below `MOST`, since V has 24 bits. So only pairs whose normal is above
Φ⁻¹(exp(−MOST / λ·i)) need a V: one in six, of 512 features.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from winnow.config.toy import ToySettings

MOST = 24 * float(np.log(2))
CELLS = 2**18  # pairs in memory at a time: they fit the cache


def draw_power_law(
    rng: np.random.Generator,
    causes: Float[np.ndarray, "row cause"],
    settings: ToySettings,
    loadings: Float[np.ndarray, "feature cause"],
) -> tuple[Int[np.ndarray, " active"], Int[np.ndarray, " active"]]:
    """Draw the (row, feature) pairs that fire; rows, then features ascend."""
    exponents = settings.decay * np.arange(settings.n_features)
    with np.errstate(divide="ignore"):
        least = torch.special.ndtri(torch.from_numpy(np.exp(-MOST / exponents))).float().numpy()  # −∞ for the first
    own = np.float32((1 - settings.common) ** 0.5)
    step = max(1, CELLS // settings.n_features)
    found = []
    for start in range(0, len(causes), step):
        z = (torch.from_numpy(causes[start : start + step]) @ torch.from_numpy(loadings).T).numpy()  # (row, feature)
        z += own * rng.standard_normal(z.shape, dtype=np.float32)
        pair = np.flatnonzero(z > least)
        row, feature = np.divmod(pair, settings.n_features)
        u = torch.special.ndtr(torch.from_numpy(z.ravel()[pair]).double()).numpy()
        fires = rng.random(len(pair), dtype=np.float32) < settings.scale * u ** exponents[feature]
        found.append((row[fires] + start, feature[fires]))
    rows, features = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, features
