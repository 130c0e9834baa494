"""The layout of one shard on disk: the rows of all hooks for a range of sequences.

shard-00000.h5      /activations/<hook> [row, width]   contiguous, no filter
                    /sequence /position /token int32 [row]
                    /norms/<hook> float32 [row]        Euclidean norms (shards made before: none)
                    /statistics/<hook>/…               statistics of these rows, merged into statistics.h5
shard-00000.json    rows, sequences [start, stop), bytes, sha256; written last: a shard without it does not count
                    layout: where values lie, and the hash of the rest; manifest: fingerprint of the manifest that it
                    was made by; device: the kind of device that computed it (shards made before: none of them)

`harvest.write_shard` writes a shard.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from winnow.shards.contiguous import DataSet
from winnow.shards.dtypes import ON_DISK
from winnow.shards.sidecar import Sidecar as Sidecar
from winnow.shards.sidecar import read_sidecar as read_sidecar
from winnow.shards.sidecar import shard_path as shard_path
from winnow.shards.statistics import HookStatistics, statistics_layout


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
