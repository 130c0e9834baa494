"""Score what a dictionary makes of parents and children: absorption and splitting, from the truth (Chanin et al. 2024).

A parent is *found* where its nearest latent has a cosine above 0.9 with it. A latent *carries* a parent beside a child
where, in the least-squares combination of the two true directions, the parent has a coefficient of at least 0.2 of the
latent's unit direction; overlap between parent and child does not count.

Absorption, of found parents: of all rows with a child, the share on which the child's latent fires and carries the
parent, while the parent's own latent is silent. A row with several children counts for each.

Splitting: a parent is split where it is not found, but the latents of at least two of its children, different ones,
carry it: it is there in pieces only.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from analyze.compare.cosines import unit
from analyze.truth.firing import Counts, Firing

FOUND = 0.9  # cosine above which a true feature counts as recovered
MOSTLY = 0.5  # share of its rows with a child above which a parent counts as mostly absorbed
CARRIED = 0.2  # coefficient of the parent from which a child's latent counts as carrying it


def structure(
    truth: Float[Tensor, "feature d_model"],
    decoder: Float[Tensor, "n_latents d_model"],
    partners: Int[Tensor, " feature"],
    cosines: Float[np.ndarray, " feature"],
    parents: Int[np.ndarray, " feature"],
    counts: Counts,
    scores: Firing,
) -> dict[str, Any]:
    """Score a dictionary, named as in `metrics.json`.

    `partners`: the nearest latent of each feature, at the given cosine; `parents`: -1 for a feature that has none;
    `counts` and `scores`: of the firing of features and their partners.
    """
    child = np.flatnonzero(parents >= 0)
    parent = parents[child]
    latent = partners.numpy()
    own = latent[child] != latent[parent]
    carried = _carries(truth, decoder, child, parent, partners)
    found = cosines > FOUND
    rows, taken_over = counts.feature.numpy()[child], counts.taken_over.numpy()[child]
    absorbed = np.where(own & carried, taken_over, 0)
    with_child, lost = (np.bincount(parent, of, len(parents)) for of in (rows, absorbed))
    judged = np.flatnonzero(found & (with_child > 0))  # only a parent has rows with a child
    all_parents = np.unique(parent)
    pieces = _pieces(parent, latent[child], carried)
    split = ~found[all_parents] & (pieces >= 2)
    return {
        "parents_found": float(found[all_parents].mean()),
        "absorption": float(lost[judged].sum() / with_child[judged].sum()) if len(judged) else float("nan"),
        "parents_absorbed": _mean((lost[judged] > MOSTLY * with_child[judged]).astype(np.float64)),
        "split": float(split.mean()),
        "pieces": _mean(pieces[split].astype(np.float64)),
        "parents": _means(scores, all_parents),
        "children": _means(scores, child),
    }


def _carries(
    truth: Float[Tensor, "feature d_model"],
    decoder: Float[Tensor, "n_latents d_model"],
    child: NDArray[np.int64],
    parent: NDArray[np.int64],
    partners: Int[Tensor, " feature"],
) -> NDArray[np.bool_]:
    """Say of each child's latent whether it carries the parent."""
    of_child, of_parent = truth[child].double(), truth[parent].double()
    learned = unit(decoder[partners[torch.from_numpy(child)]].double())
    overlap = (of_child * of_parent).sum(1)
    along_child, along_parent = (learned * of_child).sum(1), (learned * of_parent).sum(1)
    coefficient = (along_parent - overlap * along_child) / (1 - overlap.square())
    return (coefficient >= CARRIED).numpy()


def _pieces(parent: NDArray[np.int64], latent: NDArray[np.int64], carried: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count, for each parent in ascending order, the different latents of children that carry it."""
    pairs = np.unique(np.stack([parent[carried], latent[carried]]), axis=1)[0]
    return np.array([int((pairs == one).sum()) for one in np.unique(parent)], dtype=np.int64)


def _means(scores: Firing, features: NDArray[np.int64]) -> dict[str, float]:
    return {name: _mean(values[features]) for name, values in scores._asdict().items()}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
