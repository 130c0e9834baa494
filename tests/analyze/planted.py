"""Dictionaries of which everything is known: unit directions, tied encoders, ReLU."""

import torch
from torch import Tensor

from analyze.compare.cosines import unit
from winnow.dictionary import Dictionary
from winnow.toy.data import ToyRows


def directions(n: int, d: int = 32, seed: int = 0) -> Tensor:
    """Draw unit vectors [n, d] at random."""
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def orthogonal(n: int, d: int = 32, seed: int = 0) -> Tensor:
    """Draw orthogonal unit vectors [n, d] at random."""
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed))).Q[:n].contiguous()


def tied(decoder: Tensor, gain: float = 1.0) -> Dictionary:
    """Make f = ReLU(gain * x.d) and reconstruct by the same directions; a thousandth keeps rounding from firing."""
    n, d = decoder.shape
    return Dictionary(gain * decoder.T.contiguous(), torch.full((n,), -1e-3), decoder.clone(), torch.zeros(d), hook="x")


def sparse_rows(features: Tensor, rows: int = 2000, rate: float = 0.1, seed: int = 0) -> Tensor:
    """Draw rows [row, d] in which each feature is present at `rate`, with a magnitude between 1 and 2."""
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand(rows, len(features), generator=generator) < rate
    return (on * (1 + torch.rand(rows, len(features), generator=generator))) @ features


def rows_of(codes: Tensor, truth: Tensor) -> ToyRows:
    """Sum the directions of codes [row, feature]; features ascend within a row."""
    counts = (codes > 0).sum(1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return ToyRows(codes @ truth, offsets, torch.nonzero(codes)[:, 1], codes[codes > 0])


def codes(rows: int = 400, features: int = 8, rate: float = 0.3) -> Tensor:
    """Draw codes [row, feature] in which each feature is present at `rate`, with a magnitude between 1 and 2."""
    generator = torch.Generator().manual_seed(0)
    on = torch.rand(rows, features, generator=generator) < rate
    return on * (1 + torch.rand(rows, features, generator=generator))
