"""Store the values per latent of a comparison of two dictionaries, as a table beside `metrics.json`.

report/pairs/FROM--TO.HASH.csv    one line for each alive latent of FROM, columns as in `PairFeatures`

The hash covers both dictionaries: retraining one gives another file. An entry of `metrics.json` names its file under
`features_csv`; files that no entry names are removed. This module does not import torch, so a stage with nothing to
do ends at once.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from winnow.runtime.publish import publish_text

FOLDER = "pairs"
NAME = 80  # characters of a file's name that either dictionary's path may take
NONE = -1  # no latent of the other dictionary; an empty field in the file


class PairFeatures(NamedTuple):
    """Each alive latent of dictionary A compared with the alive latents of B; NaN is an empty field."""

    latent: Int[np.ndarray, " n"]  # its index in A
    max_cosine: Float[np.ndarray, " n"]  # m_i, the largest cosine with a direction of B
    nearest: Int[np.ndarray, " n"]  # the latent of B with that cosine, or NONE
    p: Float[np.ndarray, " n"]  # 1 - F(m_i)^n: the probability of such a cosine among random directions
    firing_rate: Float[np.ndarray, " n"]  # share of the evaluation rows on which it fires
    r2_1: Float[np.ndarray, " n"]  # share of |a_i|^2 that one direction of B explains
    r2_4: Float[np.ndarray, " n"]  # share that at most four directions explain
    participation: Float[np.ndarray, " n"]  # (sum w^2)^2 / sum w^4 of those directions' weights
    match: Int[np.ndarray, " n"]  # its partner in the one-to-one matching, or NONE
    match_cosine: Float[np.ndarray, " n"]

    def to_csv(self) -> str:
        """Format a header and a line per latent; p keeps all digits, since it may be tiny or just below 1."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._fields)
        columns = (_fields(values, name == "p") for name, values in zip(self._fields, self, strict=True))
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue()


def file_of(ends: tuple[str, str], digests: tuple[str, str]) -> str:
    """Name a comparison's file, relative to the report, by the two dictionaries' paths and hashes."""
    names = (re.sub(r"[^A-Za-z0-9._-]+", "_", end.removeprefix("dictionaries/"))[-NAME:].strip("._") for end in ends)
    digest = hashlib.sha256(json.dumps([ends, digests]).encode()).hexdigest()[:8]
    return f"{FOLDER}/{'--'.join(names)}.{digest}.csv"


def write_features_of_pair(features: PairFeatures, path: Path) -> None:
    """Publish the file atomically; make its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_text(path, features.to_csv())


def has_features(score: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether a comparison's file exists; `folder` is the report's."""
    return "features_csv" in score and (folder / score["features_csv"]).exists()


def is_complete(metrics: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether every comparison in the metrics has its file."""
    return all(has_features(score, folder) for score in _comparisons(metrics))


def remove_others(metrics: Mapping[str, Any], folder: Path) -> None:
    """Remove the files of comparisons that are no longer in the metrics."""
    current = {folder / score["features_csv"] for score in _comparisons(metrics)}
    for path in (folder / FOLDER).glob("*.csv*"):  # also partial files of a killed process
        if path not in current:
            path.unlink()


def _comparisons(metrics: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from metrics["pairs"]
    yield from metrics["ceilings"]


def _fields(values: np.ndarray, every_digit: bool) -> list[str]:
    if values.dtype.kind == "i":
        return ["" if value == NONE else str(value) for value in values.tolist()]
    digits = repr if every_digit else "{:.9g}".format  # nine digits restore a float32 exactly
    return ["" if value != value else digits(value) for value in values.tolist()]
