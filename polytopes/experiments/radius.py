"""Do boundaries gather at a distance, in a shell? The experiment `radius`.

Rays start at a centre and go towards rows, in isotropic directions, and in directions of Gaussian rows with the same
covariance. A shell that isotropic rays show as well is the weights' geometry, not the data's.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytopes.lines.crossed import roots_in_parts
from polytopes.reading.subject import Subject
from winnow.config.polytopes import PolytopesSettings
from winnow.spline.mlp import MLP

RAYS = 200
EDGES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 3.0)
DIRECTIONS = ("data", "isotropic", "gaussian")


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Measure how densely boundaries lie at every radius, at every layer.

    rays, of each kind; edges, of the bins, in units of the median radius; layers, and untrained (the twin's; null
    without one): for each layer, layer and spaces: for residual (lines in what the norm reads, from the mean of the
    rows; null without a norm), read (in what the layer reads, from the mean) and read_from_origin (from 0):
    median_radius, of rows from the centre; natural, the 5 and 95 % of rows' radii over it; of data, isotropic and
    gaussian rays: density, crossings per median radius in each bin, and error, its standard error over rays.
    """
    twin = subject.twin
    return {
        "rays": RAYS,
        "edges": EDGES,
        "layers": [_of_layer(subject, layer) for layer in subject.layers],
        "untrained": None if twin is None else [_of_layer(twin, layer) for layer in twin.layers],
    }


def _of_layer(subject: Subject, layer: int) -> dict[str, Any]:
    mlp, read = subject.mlp(layer), subject.hook_input(layer).double()
    draw = subject.random("radius", str(layer))
    spaces: dict[str, Any] = {"residual": None}
    if mlp.norm is not None:
        residual = subject.residual(layer).double()
        spaces["residual"] = shells(mlp, residual, residual.mean(0), True, draw)
    spaces["read"] = shells(mlp, read, read.mean(0), False, draw)
    spaces["read_from_origin"] = shells(mlp, read, torch.zeros_like(read[0]), False, draw)
    return {"layer": layer, "spaces": spaces}


@torch.no_grad()
def shells(
    mlp: MLP, x: Float[Tensor, "row d"], centre: Float[Tensor, " d"], before_norm: bool, draw: np.random.Generator
) -> dict[str, Any]:
    """Measure the density of boundaries on rays from a centre; the keys are described at `measure`."""
    away = x - centre
    radius = away.norm(dim=1)
    median = radius.median()
    chosen = torch.from_numpy(draw.integers(len(x), size=RAYS))
    mixed = torch.from_numpy(draw.standard_normal((RAYS, len(x)))) @ (away - away.mean(0))
    directions = {
        "data": away[chosen],
        "isotropic": torch.from_numpy(draw.standard_normal((RAYS, x.shape[1]))),
        "gaussian": mixed,
    }
    found: dict[str, Any] = {
        "median_radius": median,
        "natural": torch.quantile(radius, torch.tensor([0.05, 0.95], dtype=radius.dtype)) / median,
    }
    start = centre.expand(RAYS, -1)
    for name in DIRECTIONS:
        unit = directions[name] / directions[name].norm(dim=1, keepdim=True)
        counts = torch.cat(
            [
                _histogram(roots * EDGES[-1])
                for roots in roots_in_parts(mlp, start, start + EDGES[-1] * median * unit, before_norm)
            ]
        )
        density = counts / torch.tensor(EDGES, dtype=torch.float64).diff()
        found[name] = {"density": density.mean(0), "error": density.std(0) / len(density) ** 0.5}
    return found


def _histogram(radius: Float[Tensor, "ray n most"]) -> Float[Tensor, "ray bin"]:
    """Count the crossings of each ray by bins of their radius; NaN is none."""
    edges = torch.tensor(EDGES, dtype=radius.dtype, device=radius.device)
    flat = radius.flatten(1)
    place = torch.bucketize(flat, edges, right=True)  # 1 is the first bin; NaN is put behind the last
    place = torch.where(flat.isnan(), 0, place)
    counts = torch.zeros(len(flat), len(EDGES) + 1, dtype=torch.float64, device=radius.device)
    counts.scatter_add_(1, place, torch.ones_like(flat, dtype=torch.float64))
    return counts[:, 1 : len(EDGES)].cpu()
