"""Follow features over a whole ladder of sizes, by chaining the relations between neighbouring sizes.

    found = lineages([relations_small_middle, relations_middle_large], alive=[...])
    found.descendants[0]      # for each alive feature of the smallest size: how many of the largest descend from it
    found.born[2]             # for each alive feature of the largest size: the size of its oldest ancestor

One feature descends from another where a chain of edges leads from one to the other, size by size.

report/lineages/FIRST--LAST.HASH.csv    one line for each living feature of each size; an entry of `metrics.json` names
                                        its file under `latents_csv`
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from analyze.compare.latent_table import LINEAGES, file_of
from analyze.schema.metrics import LATENTS_OF_LINEAGE
from winnow.runtime.publish import publish_text


class Lineages(NamedTuple):
    """Per size, smallest first, one value for each alive feature."""

    latents: list[NDArray[np.int64]]  # index of each alive feature
    descendants: list[NDArray[np.int64]]  # how many features of the largest size descend from it (1 in that size)
    ancestors: list[NDArray[np.int64]]  # how many features of the smallest size it descends from
    born: list[NDArray[np.int64]]  # index of the size of its oldest ancestor; its own size if it is new
    survival: NDArray[np.float64]  # [size, later size]: share of a size's features with descendants in the later one


def lineages(edges: Sequence[Int[Tensor, "_ 2"]], alive: Sequence[Bool[Tensor, " _"]]) -> Lineages:
    """Follow the alive features of each size; `edges[s]` relate latents of size s to latents of size s + 1."""
    latents = [mask.nonzero()[:, 0].numpy() for mask in alive]
    steps = [_step(e, alive[s], alive[s + 1]) for s, e in enumerate(edges)]
    sizes = len(alive)
    descendants, ancestors, born = [], [], []
    for s in range(sizes):
        descendants.append(_count(_chain(steps[s:], len(latents[s])), 1))
        ancestors.append(_count(_chain(steps[:s], len(latents[0])), 0))
        oldest = np.full(len(latents[s]), s, dtype=np.int64)
        if s:
            parents, children = steps[s - 1].nonzero()
            np.minimum.at(oldest, children, born[s - 1][parents])
        born.append(oldest)
    survival = np.full((sizes, sizes), np.nan)
    for s in range(sizes):
        for t in range(s, sizes):
            reached = _count(_chain(steps[s:t], len(latents[s])), 1)
            survival[s, t] = (reached > 0).mean() if len(reached) and len(latents[t]) else np.nan
    return Lineages(latents, descendants, ancestors, born, survival)


def summarise_lineages(found: Lineages, paths: Sequence[str]) -> dict[str, Any]:
    """Count fates over the whole ladder under the names of `metrics.json`.

    Towards the largest size a feature persists (one descendant there), splits (several) or vanishes (none). From the
    smallest size a feature persists (one ancestor there), merges (several) or is new (none). Where one of the two
    sizes has no alive feature, the counts are None.
    """
    smallest, largest = len(found.latents[0]), len(found.latents[-1])
    return {
        "paths": list(paths),
        "survival": found.survival,
        "sizes": [
            {
                "to_largest": _known(
                    len(down) and largest,
                    persists=int((down == 1).sum()),
                    splits=int((down > 1).sum()),
                    vanished=int((down == 0).sum()),
                ),
                "from_smallest": _known(
                    len(up) and smallest,
                    persists=int((up == 1).sum()),
                    merges=int((up > 1).sum()),
                    new=int((up == 0).sum()),
                ),
                "born_counts": np.bincount(born, minlength=len(paths)),
            }
            for down, up, born in zip(*found[1:4], strict=True)
        ],
    }


def _known(alive: int, **counts: int) -> Mapping[str, int | None]:
    return counts if alive else dict.fromkeys(counts)


def latents_csv(found: Lineages) -> str:
    """Write a header and a line for each living feature of each size."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in LATENTS_OF_LINEAGE])
    for size, columns in enumerate(zip(*found[:4], strict=True)):
        writer.writerows([size, *values] for values in zip(*(c.tolist() for c in columns), strict=True))
    return text.getvalue()


def follow(
    families: Sequence[Mapping[str, Any]],
    alive: Mapping[str, Bool[Tensor, " _"]],
    digests: Mapping[str, str],
    folder: Path,
) -> list[dict[str, Any]]:
    """Follow features over every ladder of three sizes and more, from the families of `metrics.json`.

    `digests` are the hashes of the dictionaries, by which the tables in `folder`, the report's, are named.
    """
    return [_ladder(chain, alive, digests, folder) for chain in ladders(families) if len(chain) > 1]


def ladders(families: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Join the families of neighbouring sizes into chains, from the smallest size to the largest."""
    by_start = {family["from"]: family for family in families}
    ends = {family["to"] for family in families}
    chains = []
    for start in (family for family in families if family["from"] not in ends):
        chain = [start]
        while chain[-1]["to"] in by_start:
            chain.append(by_start[chain[-1]["to"]])
        chains.append(chain)
    return chains


def _ladder(
    chain: Sequence[Mapping[str, Any]], alive: Mapping[str, Tensor], digests: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    paths = [chain[0]["from"], *(family["to"] for family in chain)]
    edges = [torch.tensor([edge[:2] for edge in family["edges"]], dtype=torch.int64).reshape(-1, 2) for family in chain]
    found = lineages(edges, [alive[path] for path in paths])
    name = file_of((paths[0], paths[-1]), [digests[path] for path in paths], LINEAGES)
    (folder / LINEAGES).mkdir(parents=True, exist_ok=True)
    publish_text(folder / name, latents_csv(found))
    return {**summarise_lineages(found, paths), "latents_csv": name}


def _step(edges: Tensor, here: Tensor, there: Tensor) -> csr_array:
    """Build the 0/1 matrix of relations [alive here, alive there]."""
    place = [torch.cumsum(mask, 0).numpy() - 1 for mask in (here, there)]
    rows, columns = place[0][edges[:, 0].numpy()], place[1][edges[:, 1].numpy()]
    shape = (int(here.sum()), int(there.sum()))
    return csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)


def _chain(steps: Sequence[csr_array], n: int) -> csr_array:
    """Multiply the steps into a descent matrix; without steps it is the identity."""
    reached = csr_array((np.ones(n, dtype=np.int64), (np.arange(n), np.arange(n))), shape=(n, n))
    for step in steps:
        reached = csr_array((reached @ step).astype(bool), dtype=np.int64)  # the number of paths does not matter
    return reached


def _count(reached: csr_array, axis: int) -> NDArray[np.int64]:
    return np.asarray(reached.sum(axis=axis), dtype=np.int64).ravel()
