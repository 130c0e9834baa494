"""Store the evaluation's results per latent, beside `metrics.json`, which holds only sums over latents.

report/latents.h5    /000000/firings int64 [n_latents]      evaluation rows on which each latent fired
                            /squares float64 [n_latents]    sum of f^2
                            attrs: path of the dictionary, input: hash of the inputs of the measurement, rows
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.evaluation.quality import ALIVE_ABOVE
from winnow.runtime.publish import publish_file


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
    with h5py.File(path) as file:
        return {
            str(file[key].attrs["path"]): Latents(
                str(file[key].attrs["input"]),
                torch.from_numpy(np.asarray(file[f"{key}/firings"])),
                torch.from_numpy(np.asarray(file[f"{key}/squares"])),
                int(str(file[key].attrs["rows"])),
            )
            for key in file
            if "rows" in file[key].attrs  # in an older file, none has it
        }


def write_latents(path: Path, latents: Mapping[str, Latents]) -> None:
    """Publish the file atomically."""
    with publish_file(path) as partial, h5py.File(partial, "w") as file:
        for number, (name, values) in enumerate(sorted(latents.items())):
            group = file.create_group(f"{number:06d}")  # a path's slashes would make nested groups
            group.attrs["path"] = name
            group.attrs["input"] = values.input
            group.attrs["rows"] = values.rows
            group["firings"] = values.firings.numpy()
            group["squares"] = values.squares.numpy()
