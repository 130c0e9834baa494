"""Simulate the null of max-cosines: random vectors with the second moment of a dictionary's own decoder.

Activations fill some directions more than others, and so does every dictionary trained on them, whether it has found
features or not. Two dictionaries therefore look alike before either has learned anything but the covariance, and
uniform random directions (`analyze.compare.chance`) are too lenient a null.

    null = decoder_null(a, b)            # living directions of A and of B, [n, d]
    null.corrected(mmcs)                 # 0 at chance, 1 for equal directions
    null.p_value(max_cosines(a, b)[0])   # never below 1 / (draws + 1)

A draw stands for a latent of A and is looked up in B as it is. Measured with topk dictionaries that were trained on
Gaussian rows of the activations' mean and covariance, and so hold nothing but these, against dictionaries of the same
activations and another seed: 512 latents in 512, both ways, at three hooks of the demo's model, the range over two
seeds. A corrected MMCS of 0, and 1 % of latents below p = 0.01, are right.

    null                                    corrected        latents below p = 0.01
    isotropic                               0.05 to 0.12     10 to 38 %
    activations' covariance                 -0.42 to -0.07   0 to 0.6 %
    A and B both drawn                      0.006 to 0.025   1.2 to 5.7 %
    A as it is, B drawn                     0.005 to 0.022   1.0 to 5.3 %
    A drawn, B as it is                     -0.001 to 0.011  1.2 to 4.3 %
    the same with weights as here           -0.003 to 0.008  1.0 to 3.5 %
    A's coordinates with random signs       -0.003 to 0.005  1.0 to 2.9 %

The last is the strictest, and useless for orthogonal latents: the axes are then the latents themselves. What is left
above 1 % lies along leading directions of the covariance, which both dictionaries have learned.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from analyze.compare.chance import Chance, corrected
from analyze.compare.cosines import BLOCK, max_cosines, unit

DRAWS = 10_000  # the mean's standard error is below 0.001; the smallest p is 1 / 10,001
ROUNDS = 10  # after these the weights change by less than a thousandth
SEED = 0x6E756C6C  # one that no training uses: with a shared seed a draw could be a dictionary's initial direction


class DecoderNull(NamedTuple):
    """The largest cosines of random vectors, in rising order; none where there is nothing to look up, or nowhere."""

    maxima: Float[np.ndarray, " draw"]

    @property
    def mean(self) -> float:
        """Compute the chance level of MMCS; NaN without draws, as everything here."""
        return float(self.maxima.mean()) if len(self.maxima) else float("nan")

    def corrected(self, mmcs: float) -> float:
        """Rescale a mean max-cosine by the mean of the draws, as `chance.corrected`."""
        return corrected(mmcs, self.mean)

    def p_value(self, m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the probability of a cosine of at least `m`, with `m` itself as one more draw: (k + 1) / (n + 1)."""
        if not len(self.maxima):
            return np.full(len(m), np.nan)
        as_large = len(self.maxima) - np.searchsorted(self.maxima, m, side="left")
        return (as_large + 1) / (len(self.maxima) + 1)

    def expected_counts(self, edges: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Compute how many of `count` random max-cosines to expect in each bin."""
        found = np.histogram(np.clip(self.maxima, edges[0], edges[-1]), edges)[0]
        return count * found / len(self.maxima) if len(self.maxima) else np.full(len(found), np.nan)


@torch.no_grad()
def decoder_null(a: Float[Tensor, "n_a d"], b: Float[Tensor, "n_b d"], draws: int = DRAWS) -> DecoderNull:
    """Look up `draws` random vectors with the second moment of A's directions in B; equal inputs give equal draws.

    At most a block of cosines is held (`analyze.compare.cosines`).
    """
    if not len(a) or not len(b):
        return DecoderNull(np.empty(0))
    return DecoderNull(np.sort(max_cosines(draw_like(a, draws), b)[0].double().cpu().numpy()))


def draw_like(directions: Float[Tensor, "n d"], draws: int) -> Float[Tensor, "draws d"]:
    """Draw unit vectors at random with the second moment of these directions, scaled to length 1.

    Scaling makes a normal vector less uneven: where one axis holds half of the square, normal vectors with the second
    moment itself give a null of 0.57, and 0.69 is right. So each axis gets the weight with which the scaled draws have
    the moment.
    """
    moment = sum((rows.T @ rows).double() for rows in unit(directions).split(BLOCK)) / len(directions)
    shares, axes = torch.linalg.eigh(torch.as_tensor(moment).cpu())  # the same axes whatever the device
    shares, axes = shares.clamp_min(0).float().to(directions.device), axes.float().to(directions.device)
    normal = torch.randn(draws, len(shares), generator=torch.Generator().manual_seed(SEED)).to(axes)
    normal = normal @ axes  # along the axes; an axis' sign does not matter
    weights, tiny = shares.clone(), torch.finfo(torch.float32).tiny
    for _ in range(ROUNDS):
        squares = normal.square() * weights
        found = (squares / squares.sum(1, keepdim=True).clamp_min(tiny)).mean(0)
        weights *= shares / found.clamp_min(tiny)
    return unit((normal * weights.sqrt()) @ axes.T)


def beside_chance(mmcs: float, null: DecoderNull, isotropic: Chance) -> dict[str, Any]:
    """Put an MMCS beside its chance levels, named as in `metrics.json`; most papers have the isotropic one.

    NaN where there was nothing to look up, or nothing to look it up in.
    """
    if not len(null.maxima):
        isotropic = Chance(isotropic.d, 0)
    return {
        "mmcs": mmcs,
        "mmcs_null": null.mean,
        "mmcs_corrected": null.corrected(mmcs),
        "mmcs_null_isotropic": isotropic.mean,
        "mmcs_corrected_isotropic": isotropic.corrected(mmcs),
    }
