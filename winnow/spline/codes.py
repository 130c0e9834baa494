"""Codes of rows: packed bits, distances between them by matrix products, and how soft they are.

A hard code is bool [row, n]; packed, eight neurons a byte, the first in the highest bit, as numpy packs them. A soft
code is a float in [0, 1]. Distances are exact: they are sums of at most n zeros and ones in float64.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from winnow.errors import UserError
from winnow.shapes import checks_shapes
from winnow.spline.mlp import MLP

UNDECIDED = (0.1, 0.9)  # a neuron between them is neither on nor off


@checks_shapes
def pack(code: Bool[Tensor, "*row n"]) -> UInt8[Tensor, "*row bytes"]:
    """Pack hard codes eight neurons to a byte; a last byte that is not full ends in zeros."""
    return torch.from_numpy(np.packbits(code.cpu().numpy(), axis=-1))


def unpack(packed: UInt8[Tensor, "*row bytes"], n: int) -> Bool[Tensor, "*row n"]:
    """Unpack codes of n neurons. Raises `UserError` where they have another number of bytes."""
    if packed.dtype != torch.uint8:
        raise UserError(f"packed codes: expected uint8, found {packed.dtype}")
    if packed.ndim == 0 or packed.shape[-1] != -(-n // 8):
        raise UserError(f"packed codes of {n} neurons have {-(-n // 8)} bytes each, found shape {list(packed.shape)}")
    return torch.from_numpy(np.unpackbits(packed.cpu().numpy(), axis=-1, count=n).astype(bool))


def hamming(code: Bool[Tensor, "row n"], other: Bool[Tensor, "other n"] | None = None) -> Float[Tensor, "row other"]:
    """Count the neurons that differ between every two rows; without `other`, of `code` with itself."""
    s, t = _two_hard(code, other)
    return _exactly_symmetric(s.sum(1)[:, None] + t.sum(1) - 2 * s @ t.T, other is None)


def jaccard(code: Bool[Tensor, "row n"], other: Bool[Tensor, "other n"] | None = None) -> Float[Tensor, "row other"]:
    """Compute 1 − |s∧t| / |s∨t| between every two rows, 0 between two rows without any neuron on."""
    s, t = _two_hard(code, other)
    both = s @ t.T
    either = s.sum(1)[:, None] + t.sum(1) - both
    return _exactly_symmetric(1 - torch.where(either > 0, both / either.clamp(min=1), 1.0), other is None)


def l1(code: Float[Tensor, "row n"], other: Float[Tensor, "other n"] | None = None) -> Float[Tensor, "row other"]:
    """Compute Σ|p − q| between every two rows of soft codes, which is `hamming` where all are 0 or 1."""
    p, q = _two(code, other)
    return _exactly_symmetric(torch.cdist(p, q, p=1), other is None)


def _two(code: Tensor, other: Tensor | None) -> tuple[Tensor, Tensor]:
    second = code if other is None else other
    if code.ndim != 2 or second.ndim != 2 or code.shape[1] != second.shape[1]:
        raise UserError(f"codes must be [row, n] of the same n, found {list(code.shape)} and {list(second.shape)}")
    return code.double(), second.double()


def _two_hard(code: Tensor, other: Tensor | None) -> tuple[Tensor, Tensor]:
    if code.dtype != torch.bool or (other is not None and other.dtype != torch.bool):
        found = code.dtype if other is None else f"{code.dtype} and {other.dtype}"
        raise UserError(f"hard codes: expected bool, found {found}; l1 compares soft ones")
    return _two(code, other)


def _exactly_symmetric(distances: Tensor, with_itself: bool) -> Tensor:
    """Clustering by precomputed distances refuses a matrix that is symmetric only up to rounding."""
    return ((distances + distances.T) / 2).fill_diagonal_(0) if with_itself else distances


@checks_shapes
def bits(code: Float[Tensor, "*row n"]) -> Float[Tensor, "*row n"]:
    """Compute H₂(p), the bits by which a neuron's soft code is undecided: 0 on or off, 1 at p = ½."""
    p = code.double()
    return (torch.special.entr(p) + torch.special.entr(1 - p)) / np.log(2)


class Softness(NamedTuple):
    """How soft a layer's codes are over some rows."""

    bits: float  # mean of H₂(p) over rows and neurons
    undecided: float  # share of entries with .1 < p < .9
    on_rate: Float[Tensor, " n"]  # share of rows with h > 0
    hard_fvu: float | None  # FVU of the output with p replaced by the hard code; None without affine maps


@checks_shapes
def softness(mlp: MLP, u: Float[Tensor, "row d_in"]) -> Softness:
    """Measure how soft the codes of rows are that the layer reads, and how much of its output on/off bits give.

    The FVU is Σ‖y − ŷ‖² / Σ‖y − ȳ‖² over these rows, y the output and ŷ that of the hard code with the same weights.
    """
    h = mlp.pre(u)
    if h.ndim != 2:
        raise UserError(f"{mlp.name}: rows must be [row, {mlp.d_in}], found a tensor of shape {list(u.shape)}")
    code = mlp.gate.code(h)
    low, high = UNDECIDED
    return Softness(
        bits=bits(code).mean().item(),
        undecided=((code > low) & (code < high)).double().mean().item(),
        on_rate=(h > 0).double().mean(0),
        hard_fvu=_hard_fvu(mlp, h) if mlp.has_affine_maps else None,
    )


def _hard_fvu(mlp: MLP, h: Tensor) -> float:
    y = mlp.gate(h) @ mlp.W_out
    error = (h * mlp.gate.weight(h, sharpness=float("inf"))) @ mlp.W_out - y
    return (error.double().square().sum() / (y - y.mean(0)).double().square().sum()).item()
