"""The layout of one shard on disk: the rows of all hooks for a range of sequences.

shard-00000.h5      /activations/<hook> [row, width]   contiguous, no filter
                    /sequence /position /token int32 [row]
                    /norms/<hook> float32 [row]        Euclidean norms (shards made before: none)
                    /statistics/<hook>/…               statistics of these rows, merged into statistics.h5
shard-00000.json    rows, sequences [start, stop), bytes, sha256; written last: a shard without it does not count

`harvest.write_shard` writes a shard.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from winnow.errors import UserError
from winnow.shards.contiguous import DataSet
from winnow.shards.dtypes import ON_DISK
from winnow.shards.statistics import HookStatistics, statistics_layout


class Sidecar(NamedTuple):
    """The fields of `shard-NNNNN.json`."""

    rows: int
    sequences: tuple[int, int]
    bytes: int
    sha256: str


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.h5"


def read_sidecar(shard: Path) -> Sidecar | None:
    """Read the sidecar of a shard; None if the shard is not finished."""
    try:
        fields = json.loads(shard.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{shard.with_suffix('.json')}: not valid JSON ({error}); delete it, and harvest again"
        ) from error
    return Sidecar(fields["rows"], (fields["sequences"][0], fields["sequences"][1]), fields["bytes"], fields["sha256"])


class RowIndex(NamedTuple):
    """Sequence, position in it and token of each row; int32 [row] each."""

    sequence: Tensor
    position: Tensor
    token: Tensor


def shard_layout(hooks: Mapping[str, int], rows: int, dtype: str, context: int) -> dict[str, DataSet]:
    """List the data sets of a shard with `rows` rows of `hooks` (name -> width)."""
    sets = {name: DataSet((rows,), np.dtype("<i4"), {}) for name in RowIndex._fields}
    for hook, width in hooks.items():
        sets[f"activations/{hook}"] = DataSet((rows, width), ON_DISK[dtype], {"dtype": dtype})
        sets[f"norms/{hook}"] = DataSet((rows,), np.dtype("<f4"), {})
        zero = HookStatistics.zero(width, context)
        sets |= {f"statistics/{name}": spec for name, spec in statistics_layout({hook: zero}).items()}
    return sets
