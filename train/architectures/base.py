"""What every kind of dictionary has in common: its parameters, and how a step is put together.

Dictionaries of one shape are stacked and take their steps together; a single one is a stack of one. Parameters are
float32 (or float64) tensors by name: W_enc [learner, n, d] (a row per latent, so that gradients gather rows),
b_enc [learner, n], W_dec [learner, n, d] with unit rows, b_dec [learner, d], and what an architecture adds.
All learners see the same rows, whose activations are scaled to a mean norm of sqrt(d).

A large dictionary may be shared by several processes, each with a slice of its latents (train/sharded.py): then n is
the size of the slice, and whatever depends on all latents goes through `collectives`.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from train.architectures.step import Parameters, Step, StepContext
from train.collectives import ALONE, Collectives
from train.kernels import dispatch, sparse
from train.kernels.ranking import exceeds
from train.kernels.sparse import Active
from train.tf32 import products_in_tf32

# Density below which gathering is faster than four dense products. Measured with one thread, in turns, 256 to 4096
# rows, d = 64 to 768, n = 128 to 4096: gathering takes, of a dense step's time, 0.35 to 0.6 at density 0.03, 0.6 to 0.7
# at 0.1 (in bfloat16 0.8 to 1, at d = 64 1.1), and 0.7 to 1 at 0.15.
SPARSE_BELOW = 0.1


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of dictionary: which latents fire, the loss, and the loss's gradient.

    The sparsity, in which a stack's learners may differ, is a tuple with an entry for each learner.
    """

    compute_dtype: torch.dtype = torch.float32  # of products and weighted sums; parameters stay as they are
    tf32: bool = False  # whether a GPU may take float32 products in TensorFloat-32
    collectives: Collectives = ALONE  # with the processes that hold the other latents
    buffers: ClassVar[tuple[str, ...]] = ()  # parameters that follow the batches and have no gradient

    def add_parameters(self, p: Parameters) -> None:
        """Add this kind's own parameters to the four that every dictionary has; `p` is one dictionary's, no stack's."""

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`."""
        raise AssertionError(f"{type(self).__name__} has no step")

    def project(self, p: Parameters) -> None:
        """Put parameters back into their allowed range after the optimiser moved them."""

    def follow_rows(self, p: Parameters, x: Float[Tensor, "row d"]) -> None:
        """Let the buffers follow a batch, the weights standing still."""

    def folded(self, p: Parameters, scale: float) -> Parameters:
        """Return one learner's tensors for a `Dictionary` of unscaled activations, by its constructor's names.

        With x scaled by s, f(s·x) / s are the latents of x under the same weights with every bias and threshold divided
        by s: ReLU, a comparison and the choice of the largest commute with a positive factor. The decoder keeps its
        unit norm.
        """
        return {
            "W_enc": p["W_enc"].T.contiguous(),
            "b_enc": p["b_enc"] / scale,
            "W_dec": p["W_dec"].clone(),
            "b_dec": p["b_dec"] / scale,
        }

    def encode(
        self, p: Parameters, x: Float[Tensor, "row d"] | Float[Tensor, "learner row d"]
    ) -> tuple[Float[Tensor, "learner row d"], Float[Tensor, "learner row n"]]:
        """Compute the rows less each learner's b_dec, and the pre-activations, both in the compute dtype."""
        centred = self.lowered(x - p["b_dec"].unsqueeze(1))
        return centred, self.product(centred, p["W_enc"].mT, p["b_enc"])

    def product(
        self, a: Float[Tensor, "learner i j"], b: Float[Tensor, "learner j k"], bias: Tensor | None = None
    ) -> Float[Tensor, "learner i k"]:
        """Multiply matrices in the compute dtype; bias: [learner, k]."""
        a, b = self.lowered(a), self.lowered(b)
        with products_in_tf32() if self.tf32 else nullcontext():
            if len(a) == 1:  # the batched product of one takes up to a tenth longer
                (a,), (b,) = a, b
                return (torch.mm(a, b) if bias is None else torch.addmm(self.lowered(bias)[0], a, b)).unsqueeze(0)
            return torch.bmm(a, b) if bias is None else torch.baddbmm(self.lowered(bias).unsqueeze(1), a, b)

    def lowered(self, tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Cast float32 to the compute dtype; leave float64 as it is."""
        return tensor.to(self.compute_dtype) if tensor.dtype == torch.float32 else tensor

    def sparse_step(
        self,
        p: Parameters,
        x: Float[Tensor, "row d"],
        centred: Float[Tensor, "learner row d"],
        active: Active,
        penalty: Float[Tensor, " learner"] | None = None,
        more: Callable[[Float[Tensor, " active"]], Parameters] | None = None,
    ) -> Step:
        """Finish a step with the latents `active`: decode, and take gradients through the latents > 0 alone.

        Loss: mean over rows of ‖x − x̂‖² + penalty · Σ f. more: from the squared error's gradient in the active values,
        computes the gradients of the parameters that only this architecture has.
        """
        (e, n, _), b = p["W_dec"].shape, len(x)
        squared_error, gradient, rows, g_f = self.reconstruct(p, x, active)
        gradients = more(g_f) if more else {}
        groups = sparse.by_latent(active, e * n)
        loss = squared_error / b
        if penalty is not None:
            magnitude = self.collectives.all_reduce(
                sparse.sum_by_latent(active, active.values, e * n, groups).view(e, n).sum(1)
            )
            loss = loss + penalty * magnitude / b
            g_f = g_f + of_entries(penalty, active, n) / b
        positive = active.values > 0
        through = g_f * positive
        g_b_enc = sparse.sum_by_latent(active, through, e * n, groups).view(e, n)
        firings = sparse.sum_by_latent(active, positive.int(), e * n).view(e, n)
        return Step(
            loss=loss,
            squared_error=squared_error,
            active=self.collectives.all_reduce(firings.sum(1)),
            fired=firings > 0,
            gradient=gradient,
            gradients={"b_enc": g_b_enc, "b_dec": self.rows_gradient(p, gradient, g_b_enc), **gradients},
            lists={
                "W_enc": sparse.listed(groups, through, centred.flatten(0, 1)),
                "W_dec": sparse.listed(groups, active.values, rows),
            },
        ).finished()

    def reconstruct(
        self, p: Parameters, x: Float[Tensor, "row d"], active: Active
    ) -> tuple[
        Float[Tensor, " learner"], Float[Tensor, "learner row d"], Float[Tensor, "rows d"], Float[Tensor, " active"]
    ]:
        """Return the squared error's sum over rows, and its mean's gradients.

        They are that in x̂, the same in the compute dtype and for all learners' rows, and that in the active values.
        """
        e, b = len(p["W_dec"]), len(x)
        if dispatch.available(x) and self.collectives.ranks == 1:
            from train.kernels.reconstruction import reconstruct

            found = reconstruct(*active, self.lowered(p["W_dec"].flatten(0, 1)), p["b_dec"], x)
            squared_error, gradient = found.squared_error.view(e, b).sum(1), found.gradient.view(e, b, -1)
            return squared_error, gradient, found.lowered, found.gradient_of_values
        error = self.error(p, x, active)
        squared_error = error.square().sum((1, 2))
        gradient = error.mul_(2 / b)
        rows = gradient.flatten(0, 1)
        of_values = sparse.gradient_of_values(active, p["W_dec"].flatten(0, 1), rows)
        return squared_error, gradient, self.lowered(rows), of_values

    def dense_step(
        self,
        p: Parameters,
        x: Float[Tensor, "row d"],
        centred: Float[Tensor, "learner row d"],
        f: Float[Tensor, "learner row n"],
        penalty: Float[Tensor, " learner"] | None = None,
        more: Callable[[Float[Tensor, "learner row n"]], Parameters] | None = None,
    ) -> Step:
        """Do as `sparse_step`, when so many latents are active that gathering them costs more."""
        b = len(x)
        error = self.dense_error(p, x, f)
        squared_error = error.square().sum((1, 2))
        gradient = error.mul_(2 / b)
        loss = squared_error / b
        through = self.product(gradient, p["W_dec"].mT)  # (learner, row, n)
        gradients = more(through) if more else {}
        if penalty is not None:
            loss = loss + penalty * self.collectives.all_reduce(f.sum((1, 2), dtype=x.dtype)) / b
            through.add_(penalty.view(-1, 1, 1) / b)
        zero_where_zero(through, f)
        g_b_enc = through.sum(1, dtype=x.dtype)
        return Step(
            loss=loss,
            squared_error=squared_error,
            active=self.collectives.all_reduce(count_learners(f > 0)),
            fired=f.amax(1) > 0,
            gradient=gradient,
            gradients=self.dense_gradients(p, centred, f, gradient, through, g_b_enc) | gradients,
        )

    def dense_gradients(
        self,
        p: Parameters,
        centred: Float[Tensor, "learner row d"],
        f: Float[Tensor, "learner row n"],
        gradient: Float[Tensor, "learner row d"],
        through: Float[Tensor, "learner row n"],
        g_b_enc: Float[Tensor, "learner n"],
    ) -> Parameters:
        """Take the gradients in x̂ and in the pre-activations, `through`, to the four parameters of all kinds."""
        return {
            "W_enc": sparse.exact(self.product(through.mT, centred)),
            "b_enc": g_b_enc,
            "W_dec": sparse.exact(self.product(f.mT, gradient)),
            "b_dec": self.rows_gradient(p, gradient, g_b_enc),
        }

    def dense_error(
        self, p: Parameters, x: Float[Tensor, "row d"], f: Float[Tensor, "learner row n"]
    ) -> Float[Tensor, "learner row d"]:
        """Compute x̂ − x."""
        if self.collectives.ranks == 1:
            return sparse.exact(self.product(f, p["W_dec"], p["b_dec"])).sub_(x)
        decoded = self.collectives.all_reduce(sparse.exact(self.product(f, p["W_dec"])))
        return decoded.add_(p["b_dec"].unsqueeze(1)).sub_(x)

    def penalty(
        self, coefficients: tuple[float, ...], context: StepContext, x: Float[Tensor, "row d"]
    ) -> Float[Tensor, " learner"]:
        """Return the current weight of each learner's sparsity penalty."""
        return sparse.on_device(coefficients, x.dtype, x.device) * context.warm

    def error(self, p: Parameters, x: Float[Tensor, "row d"], active: Active) -> Float[Tensor, "learner row d"]:
        """Compute x̂ − x."""
        decoded = sparse.exact(sparse.decode(active, self.lowered(p["W_dec"].flatten(0, 1))))
        return self.collectives.all_reduce(decoded.view(-1, *x.shape)).add_(p["b_dec"].unsqueeze(1)).sub_(x)

    def top_k(self, pre: Float[Tensor, "learner row n"], k: Sequence[int]) -> Active:
        """Keep the k largest of ReLU(pre) in each row, k for each learner."""
        if self.collectives.ranks == 1:
            return sparse.active_top_k(pre, k)
        here = min(k[0], pre.shape[2])  # only a stack of one is shared
        active = sparse.active_top_k(pre, [here])
        chosen = self.collectives.largest(active.values.view(-1, here), k[0])
        return active if chosen is None else sparse.keep(active, chosen.flatten())

    def largest(self, pre: Float[Tensor, "learner row n"], counts: Sequence[int]) -> Active:
        """Keep the `counts` largest of ReLU(pre) over all rows of each learner."""
        active = sparse.active_largest(pre, counts)
        chosen = self.collectives.largest(active.values.unsqueeze(0), counts[0])
        return active if chosen is None else sparse.keep(active, chosen.flatten())

    def sparsely(
        self, pre: Float[Tensor, "learner row n"], bound: float | Float[Tensor, "learner 1 n"]
    ) -> Bool[Tensor, "learner row n"] | None:
        """Mark what exceeds `bound`; None where so much does that four dense products are faster than gathering it.

        On a GPU it is always None: counting would make the host wait. Processes that share a dictionary decide
        together, since what they exchange depends on it.
        """
        if sparse.asynchronous(pre):
            return None
        mask = pre > bound if isinstance(bound, Tensor) else exceeds(pre, bound)
        marked = int(self.collectives.all_reduce(torch.tensor(np.count_nonzero(mask.numpy()))))
        return None if marked >= SPARSE_BELOW * mask.numel() * self.collectives.ranks else mask

    def rows_gradient(
        self, p: Parameters, gradient: Float[Tensor, "learner row d"], g_b_enc: Float[Tensor, "learner n"]
    ) -> Float[Tensor, "learner d"]:
        """Return b_dec's gradient: x̂ contains b_dec once, and the encoder subtracts it from every row."""
        return gradient.sum(1) - self.through_encoder(p, g_b_enc)

    def through_encoder(self, p: Parameters, g_b_enc: Float[Tensor, "learner n"]) -> Float[Tensor, "learner d"]:
        """Take a gradient of the pre-activations, summed over rows, back through the encoder."""
        return self.collectives.all_reduce(torch.bmm(g_b_enc.unsqueeze(1), p["W_enc"]).squeeze(1))


def count_learners(mask: Bool[Tensor, "learner row n"]) -> Int[Tensor, " learner"]:
    """Count the marked entries of each learner; on a CPU numpy takes a sixth of torch's time."""
    if sparse.asynchronous(mask):
        return mask.sum((1, 2))
    return torch.tensor([np.count_nonzero(learner) for learner in mask.numpy()])


def zero_where_zero(gradient: Float[Tensor, "*shape"], f: Float[Tensor, "*shape"]) -> None:
    """Set a gradient to zero, in place, where f ≥ 0 is zero; takes a seventh of the time of a product with `f > 0`."""
    torch.ops.aten.threshold_backward.grad_input(gradient, f, 0, grad_input=gradient)


def of_entries(values: Float[Tensor, " learner"], active: Active, n: int) -> Float[Tensor, "..."]:
    """Return for each active entry the value of its learner."""
    return values if len(values) == 1 else values[active.latents // n]
