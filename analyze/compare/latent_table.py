"""Store the values per latent of a comparison of two dictionaries, as a table beside `metrics.json`.

report/pairs/FROM--TO.HASH.csv    one line for each living latent of FROM, columns as in `PairFeatures`
report/lineages/FIRST--LAST.HASH.csv    one line for each living latent of each size (analyze/compare/lineages.py)

The hash covers both dictionaries: retraining one gives another file. An entry of `metrics.json` names its file under
`features_csv`; files that no entry names are removed. This module does not import torch, so a stage with nothing to
do ends at once.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyze.schema.metrics import LATENTS_OF_PAIR
from winnow.runtime.publish import publish_text

FOLDER, LINEAGES = "pairs", "lineages"
NAME = 80  # characters of a file's name that either dictionary's path may take
NONE = -1  # no latent of the other dictionary; an empty field in the file


class PairFeatures(NamedTuple):
    """Each alive latent of dictionary A compared with the alive latents of B; NaN is an empty field."""

    latent: Int[np.ndarray, " n"]  # its index in A
    max_cosine: Float[np.ndarray, " n"]  # m_i, the largest cosine with a direction of B
    nearest: Int[np.ndarray, " n"]  # the latent of B with that cosine, or NONE
    p: Float[np.ndarray, " n"]  # the probability of such a cosine for a random vector like these (decoder_null.py)
    firing_rate: Float[np.ndarray, " n"]  # share of the evaluation rows on which it fires
    r2_1: Float[np.ndarray, " n"]  # share of |a_i|^2 that one direction of B explains
    r2_4: Float[np.ndarray, " n"]  # share that at most four directions explain
    r2_1_random: Float[np.ndarray, " n"]  # the same of a random dictionary of B's size
    r2_4_random: Float[np.ndarray, " n"]
    participation: Float[np.ndarray, " n"]  # (sum w^2)^2 / sum w^4 of those directions' weights
    match: Int[np.ndarray, " n"]  # its partner in the one-to-one matching, or NONE
    match_cosine: Float[np.ndarray, " n"]

    def to_csv(self) -> str:
        """Format a header and a line per latent."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in LATENTS_OF_PAIR])
        columns = (_fields(getattr(self, column.name)) for column in LATENTS_OF_PAIR)
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue()


def file_of(ends: tuple[str, str], digests: Sequence[str], folder: str = FOLDER) -> str:
    """Name a table, relative to the report: the paths of its first and last dictionary, and the hashes of all."""
    names = (re.sub(r"[^A-Za-z0-9._-]+", "_", end.removeprefix("dictionaries/"))[-NAME:].strip("._") for end in ends)
    digest = hashlib.sha256(json.dumps([ends, digests]).encode()).hexdigest()[:8]
    return f"{folder}/{'--'.join(names)}.{digest}.csv"


def write_features_of_pair(features: PairFeatures, path: Path) -> None:
    """Publish the file atomically; make its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_text(path, features.to_csv())


def has_features(score: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether the file of a comparison is there; `folder` is that of the report."""
    return score["features_csv"] is not None and (folder / score["features_csv"]).exists()


def is_complete(metrics: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether every table that the metrics name is there."""
    return all(name is not None and (folder / name).exists() for name in _named(metrics))


def remove_others(metrics: Mapping[str, Any], folder: Path) -> None:
    """Remove the tables that the metrics do not name any more."""
    current = {folder / name for name in _named(metrics) if name is not None}
    for tables in (FOLDER, LINEAGES):
        for path in (folder / tables).glob("*.csv*"):  # also what was left by one that was killed
            if path not in current:
                path.unlink()


def _named(metrics: Mapping[str, Any]) -> Iterator[str | None]:
    for part in ("pairs", "ceilings"):
        yield from (score["features_csv"] for score in metrics[part])
    yield from (ladder["latents_csv"] for ladder in metrics["lineages"])


def _fields(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "i":
        return ["" if value == NONE else str(value) for value in values.tolist()]
    return ["" if value != value else f"{value:.9g}" for value in values.tolist()]  # nine digits restore a float32
