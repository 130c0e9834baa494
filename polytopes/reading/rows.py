"""The rows that every experiment looks at: places in the text, their labels, and the codes of every layer there.

In `rows.h5`: sequence, position, token, next, prediction int32 [row]; codes uint8 [row, layer, n/8], the numbers of the
layers in the attribute `layers` and the neurons of each in `neurons`. Once rows are clustered, also clusters int32
[row, clustering], −1 for none, the names of the clusterings in the attribute `clusterings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Int32, UInt8
from torch import Tensor

from polytopes.reading.places import Places
from winnow.errors import UserError
from winnow.runtime.publish_hdf5 import publish_hdf5

LABELS = ("token", "next", "prediction")


@dataclass(frozen=True)
class Rows:
    """Places and their labels, and the packed hard codes of every layer looked at."""

    places: Places
    token: Int32[Tensor, " row"]
    next: Int32[Tensor, " row"]  # the true next token; -1 at the end of a sequence
    prediction: Int32[Tensor, " row"]  # the model's most probable next token
    codes: UInt8[Tensor, "row layer bytes"]
    layers: tuple[int, ...]
    neurons: int
    clusters: Mapping[str, Int32[Tensor, " row"]] = field(default_factory=dict)  # by the name of the clustering

    def __len__(self) -> int:
        return len(self.token)

    def label(self, name: str) -> Int32[Tensor, " row"]:
        """Give the rows' labels by their name: token, next or prediction."""
        if name not in LABELS:
            raise UserError(f"label {name}: there are {', '.join(LABELS)}")
        return getattr(self, name)


def write_rows(path: Path, rows: Rows) -> None:
    """Publish `rows.h5`."""
    with publish_hdf5(path) as file:
        columns = {"sequence": rows.places.sequence, "position": rows.places.position}
        columns |= {name: rows.label(name) for name in LABELS} | {"codes": rows.codes}
        if rows.clusters:
            columns["clusters"] = torch.stack(list(rows.clusters.values()), 1)
            file.attrs["clusterings"] = list(rows.clusters)
        for name, values in columns.items():
            file.create_dataset(name, data=values.numpy(), track_times=False)
        file.attrs["layers"] = list(rows.layers)
        file.attrs["neurons"] = rows.neurons


def read_rows(path: Path) -> Rows:
    """Read `rows.h5`. Raises `UserError` where it is not such a file."""
    try:
        with h5py.File(path) as file:

            def column(name: str) -> Tensor:
                return torch.from_numpy(np.asarray(file[name]))

            places = Places(column("sequence"), column("position"))
            layers = tuple(int(layer) for layer in np.asarray(file.attrs["layers"]))
            token, after, prediction, codes = map(column, (*LABELS, "codes"))
            clusters: dict[str, Tensor] = {}
            if "clusters" in file:
                names = [str(name) for name in np.asarray(file.attrs["clusterings"])]
                clusters = dict(zip(names, column("clusters").unbind(1), strict=True))
            neurons = int(np.asarray(file.attrs["neurons"]))
            return Rows(places, token, after, prediction, codes, layers, neurons, clusters)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a file of rows ({error}); delete it, and run make polytopes") from error
