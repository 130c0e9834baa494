"""Test whether matched features span the same space with the same geometry: principal angles, linear CKA, SVCCA.

    found = subspaces(a, b, alive, rows)

Features are matched by their values, not their directions: one to one, so that the sum of the correlations of
their values on the same rows is largest. The geometry of their decoder directions is then independent evidence.
X and Y [pair, d] hold the directions of the matched features; the pairs take the place of examples in CKA and CCA
(Lan et al. 2024). The null of CKA and SVCCA pairs the same directions at random; the null of the angles, which do
not depend on the pairing, is random subspaces of the same dimensions.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from analyze.compare.cosines import unit
from analyze.compare.matching import match
from winnow.dictionary import Dictionary

CORRELATED = 0.1  # least correlation of a matched pair that is used
MOST_PAIRS = 4096  # used in CKA and CCA, evenly spaced: a permutation costs pairs * d^2, or pairs^2
SPACE = 0.9  # share of the squared length of the directions that a leading subspace holds
KEPT = 0.99  # share of the variance that SVCCA keeps (Raghu et al. 2017)
MOST_COMPONENTS = 512  # most components that SVCCA keeps: a permutation costs their cube
GATHERED = 256  # products that take as long as fetching one entry of a permuted Gram matrix
PERMUTATIONS = 99
CELLS = 2**25  # most latents * rows encoded for the matching: 128 MiB


class Tested(NamedTuple):
    """A score, its mean under the null, and the probability of a score at least as high under the null."""

    score: float
    null: float
    p: float


def principal_angles(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, " k"]:
    """Compute the angles in radians, rising, between the spans of the rows of `a` and of `b`; k = the smaller rank.

    Small angles come from their sines, since a cosine near 1 does not resolve them (Björck and Golub 1973).
    """
    return _angles_between(_span(a), _span(b))


def _angles_between(p: Tensor, q: Tensor) -> Tensor:
    """Compute the angles between two subspaces, given by orthonormal bases [k, d]."""
    if len(p) > len(q):
        p, q = q, p
    joint = p @ q.T
    remainder = p - joint @ q
    # eigenvalues of the squares: for two subspaces of 1500 dimensions 0.06 s, where singular values take 1.35
    cosines, sines = (torch.linalg.eigvalsh(x @ x.T).clamp(0, 1).sqrt() for x in (joint, remainder))  # rising
    cosines = cosines.flip(0)
    return torch.where(cosines.square() > 0.5, sines.asin(), cosines.acos())


def leading(directions: Float[Tensor, "n d"], share: float = SPACE) -> Float[Tensor, "r d"]:
    """Find an orthonormal basis of the smallest leading subspace that holds `share` of the sum of squared lengths."""
    directions = directions.double()
    power, basis = torch.linalg.eigh(directions.T @ directions)  # ascending; d^3 whatever the number of directions
    return basis.T.flip(0)[: _enough(power.clamp_min(0).flip(0), share)]


def linear_cka(x: Float[Tensor, "pair d"], y: Float[Tensor, "pair e"]) -> float:
    """Compute |Y'X|^2 / (|X'X| |Y'Y|) of centred X and Y: 1 for rotated and scaled copies (Kornblith et al. 2019)."""
    x, y = _centred(x), _centred(y)
    own = torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
    return float((x.T @ y).square().sum() / own)


def svcca(x: Float[Tensor, "pair d"], y: Float[Tensor, "pair e"], share: float = KEPT) -> float:
    """Compute the mean canonical correlation of the principal components that hold `share` of each variance.

    At most 512 components are kept. With hardly more pairs than components it is near 1 for any data: compare it with
    its null (Raghu et al. 2017).
    """
    return _mean_correlation(_whitened(x, share), _whitened(y, share))


@torch.no_grad()
def subspaces(
    a: Dictionary,
    b: Dictionary,
    alive: tuple[Bool[Tensor, " n_a"], Bool[Tensor, " n_b"]],
    rows: Float[Tensor, "row d_model"],
    seed: int = 0,
) -> dict[str, Any] | None:
    """Compare the spaces of two dictionaries' living features, under the names of `metrics.json`.

    Symmetric in `a` and `b`. None where fewer than three pairs correlate.
    """
    alive_a, alive_b = (mask.nonzero()[:, 0] for mask in alive)
    if not len(alive_a) or not len(alive_b):
        return None
    rows = rows[: max(64, CELLS // max(len(alive_a), len(alive_b)))]
    matched = match(_values(a, alive_a, rows), _values(b, alive_b, rows))
    pairs = np.nonzero((matched.cosines >= CORRELATED) & (matched.a >= 0) & (matched.b >= 0))[0]
    if len(pairs) < 3:
        return None
    i, j = torch.from_numpy(matched.a[pairs]), torch.from_numpy(matched.b[pairs])
    x, y = unit(a.W_dec.detach()[alive_a[i]]), unit(b.W_dec.detach()[alive_b[j]])
    generator = torch.Generator().manual_seed(seed)
    return {
        "pairs": len(pairs),
        "correlation": float(matched.cosines[pairs].mean()),
        **permuted(x, y, generator),
        "angles": angles(x, y),
    }


def permuted(
    x: Float[Tensor, "pair d"], y: Float[Tensor, "pair e"], generator: torch.Generator, times: int = PERMUTATIONS
) -> dict[str, dict[str, float]]:
    """Test CKA and SVCCA of paired rows against the same rows paired at random; NaN where one side's are all equal."""
    if _all_equal(x) or _all_equal(y):
        nothing = Tested(math.nan, math.nan, math.nan)._asdict()
        return {"cka": nothing, "svcca": nothing}
    if len(x) > MOST_PAIRS:
        chosen = torch.linspace(0, len(x) - 1, MOST_PAIRS).round().long()
        x, y = x[chosen], y[chosen]
    overlap = _overlap(_centred(x), _centred(y))
    p, q = _whitened(x, KEPT), _whitened(y, KEPT)
    cka, cca = [], []
    for order in [torch.arange(len(x)), *(torch.randperm(len(x), generator=generator) for _ in range(times))]:
        cka.append(overlap(order))
        cca.append(_mean_correlation(p, q[order]))
    return {"cka": _tested(cka)._asdict(), "svcca": _tested(cca)._asdict()}


def angles(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> dict[str, Any]:
    """Compare the leading subspaces: their dimensions, the angles between them, and their overlap.

    The overlap is the mean of cos^2 over the angles: 1 if the smaller lies within the larger. Random subspaces of
    r <= s dimensions overlap by s/d on average, with variance 2s(d-r)(d-s) / (r d^2 (d-1)(d+2)). The beta
    distribution with these moments, exact for r = 1, gives p.
    """
    p, q = leading(x), leading(y)
    d, (r, s) = p.shape[1], sorted((len(p), len(q)))
    found = _angles_between(p, q)
    score, null = float(found.cos().square().mean()), s / d
    return {
        "dimensions": [len(p), len(q)],
        "degrees": [math.degrees(angle) for angle in found],
        "overlap": Tested(score, null, random_overlap_above(score, r, s, d))._asdict(),
    }


def random_overlap_above(score: float, r: int, s: int, d: int) -> float:
    """Compute the probability that random subspaces of r <= s out of d dimensions overlap by at least `score`."""
    if s == d:
        return 1.0  # the larger is the whole space
    mean, variance = s / d, 2 * s * (d - r) * (d - s) / (r * d**2 * (d - 1) * (d + 2))
    both = mean * (1 - mean) / variance - 1
    return float(stats.beta.sf(score, mean * both, (1 - mean) * both))


def _values(dictionary: Dictionary, latents: Tensor, rows: Tensor) -> Tensor:
    """Compute latents' values on the rows, minus their means, [latent, row]: their cosines are correlations."""
    parts = rows.split(max(1, CELLS // dictionary.n_latents))
    values = torch.cat([dictionary.encode(part)[:, latents] for part in parts]).T
    return values - values.mean(1, keepdim=True)


def _tested(scores: list[float]) -> Tested:
    """Test the first score against all others, which come from permutations."""
    score, *chance = scores
    higher = sum(other >= score for other in chance)
    return Tested(score, sum(chance) / len(chance), (1 + higher) / (1 + len(chance)))


def _all_equal(x: Tensor) -> bool:
    return bool(_centred(x).square().sum() <= 1e-12 * x.double().square().sum())


def _centred(x: Tensor) -> Tensor:
    x = x.double()
    return x - x.mean(0)


def _overlap(x: Tensor, y: Tensor) -> Callable[[Tensor], float]:
    """Return a function that computes linear CKA of centred X with centred Y in a given row order.

    |Y'X|^2 is also the sum of the entries of XX' * YY', where a new order only permutes entries of YY'. That is faster
    for wide directions: 4096 pairs in 3072 dimensions take 0.30 s instead of 1.37.
    """
    if x.shape[1] * y.shape[1] <= GATHERED * len(x):
        own = torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
        return lambda order: float((x.T @ y[order]).square().sum() / own)
    k, m = x @ x.T, y @ y.T  # (pair, pair)
    both = torch.linalg.matrix_norm(k) * torch.linalg.matrix_norm(m)
    return lambda order: float(torch.vdot(k.flatten(), m[order][:, order].flatten()) / both)


def _whitened(x: Tensor, share: float) -> Tensor:
    """Find orthonormal columns [pair, r] that span the leading principal components."""
    x = _centred(x)
    power, basis = torch.linalg.eigh(x.T @ x)  # ascending
    kept = min(_enough(power.clamp_min(0).flip(0), share), MOST_COMPONENTS, len(x) - 1)
    return torch.linalg.qr(x @ basis.flip(1)[:, :kept]).Q


def _mean_correlation(p: Tensor, q: Tensor) -> float:
    """Average the canonical correlations of two orthonormal bases [pair, r] and [pair, s]."""
    if p.shape[1] > q.shape[1]:
        p, q = q, p
    joint = p.T @ q
    return float(torch.linalg.eigvalsh(joint @ joint.T).clamp(0, 1).sqrt().mean())


def _enough(power: Tensor, share: float) -> int:
    """Count how many of the largest values, sorted descending, reach this share of their sum; at least 1."""
    below = power.cumsum(0) < (share - 1e-9) * power.sum()
    return min(len(power), 1 + int(below.sum()))


def _span(x: Tensor) -> Tensor:
    _, lengths, basis = torch.linalg.svd(x.double(), full_matrices=False)
    rank = int((lengths > lengths[:1] * max(x.shape) * torch.finfo(torch.float32).eps).sum())
    return basis[:rank]
