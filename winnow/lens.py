"""The polytope lens in three functions: the code, the affine map and the boundaries of a model's layers.

    model = winnow.model.language_model.open_model(ModelSettings(name="data/tiny_gpt2"))
    u = model.activations(tokens, ["blocks.2.mlp.hook_in"])["blocks.2.mlp.hook_in"].flatten(0, 1)
    p = winnow.spline_code(model, 2, u)                  # [row, d_mlp], how far each neuron is on
    there = winnow.affine_map(model, 2, u[0])            # u[0] @ there.A + there.c is the MLP's output, exactly
    crossed = winnow.crossings(u[:1], u[1:2], model, 2)  # every boundary between the two rows

The model is a `LanguageModel`, an `MLP` of winnow.spline.mlp, or a plain network: an `nn.Sequential` of Linear and
gates, or a `Network` of winnow.spline.network. Rows are what the layer reads, `blocks.L.mlp.hook_in`; with
`before_norm` they are the residual stream that its norm reads, `blocks.L.hook_resid_mid` (in models whose attention and
MLP run in parallel `blocks.L.hook_resid_pre`). Of a network they are the network's inputs.
numpy arrays are taken too; what is returned is torch's.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from winnow.errors import UserError
from winnow.shapes import as_tensor
from winnow.spline.lines import Crossings, layer_crossings, network_crossings
from winnow.spline.maps import AffineMap, Kind, affine_map_of
from winnow.spline.mlp import MLP
from winnow.spline.network import Network

if TYPE_CHECKING:
    from winnow.model.language_model import LanguageModel
else:
    LanguageModel = object  # its module needs the packages of the stages

Model = LanguageModel | MLP | Network | nn.Sequential


@torch.no_grad()
def spline_code(
    model: Model,
    layer: int | None,
    rows: Float[Tensor, "*row d_in"] | Float[np.ndarray, "*row d_in"],
    *,
    sharpness: float = 1.0,
    before_norm: bool = False,
) -> Float[Tensor, "*row n"]:
    """Compute each neuron's code: the probability that it is on, 0 or 1 for relu, in between for smooth gates.

    layer: of a language model or network; None for an `MLP`, and for the joint code of all hidden layers of a network.
    sharpness η: the code of ηh; `math.inf` gives on/off bits for every gate. Raises `UserError` for shapes that do not
    fit, and for gates without codes. Balestriero & Baraniuk 2018, arXiv 1810.09274.
    """
    found, rows = _find(model, layer), as_tensor("rows", rows)
    if not isinstance(sharpness, int | float) or not sharpness > 0:
        raise UserError(f"sharpness: expected a number above 0, found {sharpness!r}")
    if isinstance(found, MLP):
        return found.gate.code(found.pre(found.read(rows) if before_norm else rows), sharpness)
    network, number = found
    _no_norm(before_norm)
    layers = network.pre(rows)
    return network.gate.code(torch.cat(layers, -1) if number is None else layers[number], sharpness)


@torch.no_grad()
def affine_map(
    model: Model,
    layer: int | None,
    rows: Float[Tensor, "*row d_in"] | Float[np.ndarray, "*row d_in"],
    *,
    kind: Kind = "value",
) -> AffineMap:
    """Give the affine map that applies at each row: A [..., d_in, d_out] and c [..., d_out].

    layer: as for `spline_code`; None is the whole network's map. kind: "value", the mean of the maps of all regions
    weighted by their probability, equals the layer at the row; "hard" is the map of the on/off bits; "tangent" the
    derivative. Raises `UserError` for shapes that do not fit, and, but for "tangent", for gated layers, which are
    quadratic given the code.
    """
    found, rows = _find(model, layer), as_tensor("rows", rows)
    if isinstance(found, MLP):
        return affine_map_of(found, rows, kind)
    network, number = found
    if number is None:
        return network.affine_map(rows, kind)
    mlp = network.mlp(number)
    return affine_map_of(mlp, rows if number == 0 else network.gate(network.pre(rows)[number - 1]), kind)


@torch.no_grad()
def crossings(
    a: Float[Tensor, "line d_in"] | Float[np.ndarray, "line d_in"],
    b: Float[Tensor, "line d_in"] | Float[np.ndarray, "line d_in"],
    model: Model,
    layer: int | None = None,
    *,
    before_norm: bool = False,
) -> Crossings:
    """Find every boundary that the straight line from each row of `a` to that row of `b` crosses, exactly, in float64.

    layer: as for `spline_code`; None goes through all hidden layers of a network, which must have relu or leaky relu
    gates. A smooth gate's boundary is where its neuron is on with probability ½. Raises `UserError` for shapes that do
    not fit.
    """
    found, a, b = _find(model, layer), as_tensor("a", a), as_tensor("b", b)
    if isinstance(found, MLP):
        return layer_crossings(found, a, b, before_norm)
    network, number = found
    _no_norm(before_norm)
    network.mlp(0).fitting(a)  # refuses another width
    if number == 0:
        return layer_crossings(network.mlp(0), a, b)
    every = network_crossings(network.affine_layers(), network.gate, a, b)
    return every if number is None else every.of_layer(number)


def _find(model: Model, layer: int | None) -> MLP | tuple[Network, int | None]:
    """Give the layer's MLP, or a network and which of its layers is meant."""
    if layer is not None and type(layer) is not int:
        raise UserError(f"layer: expected an integer or None, found {layer!r:.60}")
    if isinstance(model, MLP):
        if layer is not None:
            raise UserError(f"layer = {layer}: an MLP is one layer; leave it out, or pass None")
        return model
    if isinstance(model, nn.Sequential):
        model = Network.of(model)
    if isinstance(model, Network):
        if layer is not None:
            model.mlp(layer)  # refuses a layer that is not there
        return model, layer
    from winnow.model import language_model
    from winnow.model.mlp import read_mlp

    if not isinstance(model, language_model.LanguageModel):
        raise UserError(
            f"model: expected a LanguageModel (open_model of winnow.model.language_model opens one), an MLP, a Network "
            f"or an nn.Sequential, found {type(model).__name__}"
        )
    if layer is None:
        raise UserError("layer = None: a language model's lines and maps are exact layer by layer; name a layer")
    return read_mlp(model, layer)


def _no_norm(before_norm: bool) -> None:
    if before_norm:
        raise UserError("before_norm: a plain network has no norm; leave it out")
