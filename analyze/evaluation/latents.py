"""Store the evaluation's results per latent, beside `metrics.json`, which holds only sums over latents.

report/latents.h5    /000000/firings int64 [n_latents]      evaluation rows on which each latent fired
                            /squares float64 [n_latents]    sum of f^2
                            attrs: path of the dictionary, input: hash of the inputs of the measurement, rows
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.evaluation.quality import ALIVE_ABOVE
from winnow.errors import UserError
from winnow.fields import Fields
from winnow.paths import refuse_special
from winnow.runtime.hashes import check_file, said_of
from winnow.runtime.publish_hdf5 import publish_hdf5

AGAIN = "delete it, and run make analyze again"


class Latents(NamedTuple):
    """Statistics per latent of one dictionary over the evaluation rows."""

    input: str
    firings: Int[Tensor, " n_latents"]
    squares: Float[Tensor, " n_latents"]
    rows: int  # on which they were measured

    @property
    def alive(self) -> Tensor:
        """Which latents fired on more than ten rows: bool [n_latents]."""
        return self.firings > ALIVE_ABOVE


def read_latents(path: Path) -> dict[str, Latents]:
    """Read the file as {dictionary's path: its latents}; {} if there is no file."""
    if not path.exists():
        return {}
    refuse_special(path, AGAIN)
    check_file(path, said_of(path), AGAIN)
    try:
        with h5py.File(path) as file:
            # in an older file, none has the attribute
            return dict(_read_group(path, file[key]) for key in file if "rows" in file[key].attrs)
    except (OSError, RuntimeError, KeyError, TypeError) as error:  # as the library says that its file is damaged
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())}); {AGAIN}") from error


def _read_group(path: Path, group: Any) -> tuple[str, Latents]:
    firings, squares = (np.asarray(group[name]) for name in ("firings", "squares"))
    if firings.dtype != np.int64 or squares.dtype != np.float64 or firings.shape != squares.shape or firings.ndim != 1:
        raise UserError(
            f"{path}: {group.name}: expected int64 firings and float64 squares of as many latents, found "
            f"{firings.dtype} {list(firings.shape)} and {squares.dtype} {list(squares.shape)}; {AGAIN}"
        )
    attributes = Fields(path, {name: np.asarray(value).tolist() for name, value in group.attrs.items()}, group.name)
    latents = Latents(
        attributes.text("input"), torch.from_numpy(firings), torch.from_numpy(squares), attributes.integer("rows", 1)
    )
    return attributes.text("path"), latents


def write_latents(path: Path, latents: Mapping[str, Latents]) -> None:
    """Publish the file atomically."""
    with publish_hdf5(path) as file:
        for number, (name, values) in enumerate(sorted(latents.items())):
            group = file.create_group(f"{number:06d}")  # a path's slashes would make nested groups
            group.attrs["path"] = name
            group.attrs["input"] = values.input
            group.attrs["rows"] = values.rows
            group["firings"] = values.firings.numpy()
            group["squares"] = values.squares.numpy()
