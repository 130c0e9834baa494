"""What every kind of dictionary has in common: its parameters, and what a step gives.

Parameters are float32 (or float64) tensors by name: W_enc [n, d] (a row per latent, so that gradients gather
rows), b_enc [n], W_dec [n, d] with unit rows, b_dec [d], and what an architecture adds. Activations are scaled to
a mean norm of sqrt(d).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from train import sparse
from train.sparse import Active

Parameters = dict[str, Tensor]


class Moment(NamedTuple):
    """Where a training stands when it takes a step."""

    warm: float  # share of its full weight that a sparsity penalty has reached
    dead: Bool[Tensor, " n"]  # latents that have not fired for long


class Step(NamedTuple):
    """The mean loss over a batch, its gradients, and sums over the batch for the metrics."""

    loss: Float[Tensor, ""]  # mean over rows, penalties included
    squared_error: Float[Tensor, ""]  # sum over rows
    active: Int[Tensor, ""]  # sum over rows of latents > 0
    fired: Bool[Tensor, " n"]
    gradient: Float[Tensor, "row d"]  # of the reconstruction, by the squared error alone: 2 (x̂ − x) / rows
    gradients: Parameters


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of dictionary: which latents fire, what is minimised, and the gradient of that."""

    compute_dtype: torch.dtype = torch.float32  # of the dense products; parameters stay as they are
    buffers: ClassVar[tuple[str, ...]] = ()  # parameters that follow the batches, and are not descended on

    def add_parameters(self, p: Parameters) -> None:
        """Add to the four parameters that every dictionary has."""

    def step(self, p: Parameters, x: Float[Tensor, "row d"], moment: Moment) -> Step:
        """Compute loss and gradients on rows `x`."""
        raise AssertionError(f"{type(self).__name__} has no step")

    def project(self, p: Parameters) -> None:
        """Put parameters back where they are allowed to be, after the optimiser moved them."""

    def folded(self, p: Parameters, scale: float) -> Parameters:
        """Name the tensors of a `Dictionary` of unscaled activations, as its constructor calls them.

        With x scaled by s, f(s·x) / s is what the same weights with every bias and threshold divided by s find in
        x: ReLU, a comparison, and the choice of the largest do not change with a positive factor. The decoder keeps
        its unit norm.
        """
        return {
            "W_enc": p["W_enc"].T.contiguous(),
            "b_enc": p["b_enc"] / scale,
            "W_dec": p["W_dec"].clone(),
            "b_dec": p["b_dec"] / scale,
        }

    def encode(self, p: Parameters, x: Float[Tensor, "row d"]) -> tuple[Tensor, Tensor]:
        """Compute the centred rows [row, d] and the pre-activations [row, n]."""
        centred = x - p["b_dec"]
        return centred, self.product(centred, p["W_enc"].T, p["b_enc"])

    def product(self, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        """Multiply two matrices in the compute dtype, and give the result in that of `a`."""
        if a.dtype != torch.float32 or self.compute_dtype == torch.float32:
            return a @ b if bias is None else torch.addmm(bias, a, b)
        dtype = self.compute_dtype
        result = (a.to(dtype) @ b.to(dtype)).to(a.dtype)
        return result if bias is None else result.add_(bias)


def rows_gradient(p: Parameters, gradient: Float[Tensor, "row d"], g_b_enc: Float[Tensor, " n"]) -> Float[Tensor, " d"]:
    """Give b_dec's gradient: x̂ holds it once, and the encoder subtracts it from every row."""
    return gradient.sum(0) - g_b_enc @ p["W_enc"]


def sparse_step(
    p: Parameters, x: Float[Tensor, "row d"], centred: Float[Tensor, "row d"], active: Active, penalty: float = 0.0
) -> Step:
    """Finish a step whose latents are `active`: decode, and gradients through the latents > 0 alone.

    Loss: mean over rows of ‖x − x̂‖² + penalty · Σ f.
    """
    n = len(p["W_dec"])
    error = sparse.decode(active, p["W_dec"]).add_(p["b_dec"]).sub_(x)  # (row, d)
    squared_error = error.square().sum()
    gradient = error.mul_(2 / len(x))  # of the reconstruction
    positive = active.values > 0
    through = sparse.gradient_of_values(active, p["W_dec"], gradient)  # (active,)
    if penalty:
        through.add_(penalty / len(x))
    through.mul_(positive)
    groups = sparse.by_latent(active, n)
    g_b_enc = sparse.sum_by_latent(active, through, n)
    return Step(
        loss=squared_error / len(x) + penalty * active.values.sum() / len(x),
        squared_error=squared_error,
        active=positive.sum(),
        fired=sparse.fired(active, n),
        gradient=gradient,
        gradients={
            "W_enc": sparse.weight_gradient(groups, through, centred),
            "b_enc": g_b_enc,
            "W_dec": sparse.weight_gradient(groups, active.values, gradient),
            "b_dec": rows_gradient(p, gradient, g_b_enc),
        },
    )
