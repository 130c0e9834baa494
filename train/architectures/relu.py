"""ReLU with an L1 penalty (Bricken et al. 2023, Towards monosemanticity; Cunningham et al. 2023).

Loss: mean over rows of ‖x − x̂‖² + λ Σ_j f_j, the decoder's rows having unit norm. Tied, the encoder is the
decoder's transpose throughout (Cunningham et al. 2023).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from train import sparse
from train.architectures.base import Architecture, Moment, Parameters, Step, of_members
from train.ranking import exceeds

SPARSE_BELOW = 0.03  # density under which gathering beats four dense products


@dataclass(frozen=True, kw_only=True)
class Relu(Architecture):
    l1_coefficient: tuple[float, ...]
    tied: bool = False

    def step(self, p: Parameters, x: Float[Tensor, "row d"], moment: Moment) -> Step:
        """Compute loss and gradients on rows `x`."""
        p = {**p, "W_enc": p["W_dec"]} if self.tied else p
        centred, pre = self.encode(p, x)
        penalty = tuple(c * moment.warm for c in self.l1_coefficient)
        positive = exceeds(pre, 0.0)
        if x.device.type == "cpu" and np.count_nonzero(positive.numpy()) < SPARSE_BELOW * pre.numel():
            step = self.sparse_step(p, x, centred, sparse.where_members(positive, pre), penalty)
        else:
            step = self.dense_step(p, x, centred, pre.relu_(), penalty)
        if self.tied:
            step.gradients["W_dec"] += step.gradients.pop("W_enc")
        return step

    def add_parameters(self, p: Parameters) -> None:
        if self.tied:
            del p["W_enc"]

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded({**p, "W_enc": p["W_dec"]} if self.tied else p, scale)

    def dense_step(
        self,
        p: Parameters,
        x: Float[Tensor, "row d"],
        centred: Float[Tensor, "member row d"],
        f: Float[Tensor, "member row n"],
        penalty: tuple[float, ...],
    ) -> Step:
        """Do as `sparse_step`, where so many latents are active that gathering them costs more."""
        b = len(x)
        each = of_members(penalty, x)
        if self.exchange.ranks == 1:
            error = sparse.exact(self.product(f, p["W_dec"], p["b_dec"])).sub_(x)  # (member, row, d)
        else:
            decoded = self.exchange.sum(sparse.exact(self.product(f, p["W_dec"])))
            error = decoded.add_(p["b_dec"].unsqueeze(1)).sub_(x)
        squared_error = error.square().sum((1, 2))
        gradient = error.mul_(2 / b)
        magnitude = self.exchange.sum(f.sum((1, 2), dtype=x.dtype))
        through = self.product(gradient, p["W_dec"].mT)  # (member, row, n)
        through.add_((each.view(-1, 1, 1) if isinstance(each, Tensor) else each) / b)
        torch.ops.aten.threshold_backward.grad_input(through, f, 0, grad_input=through)  # zero where f is
        g_b_enc = through.sum(1, dtype=x.dtype)
        return Step(
            loss=(squared_error + each * magnitude) / b,
            squared_error=squared_error,
            active=self.exchange.sum(torch.stack([member.count_nonzero() for member in f])),
            fired=f.amax(1) > 0,
            gradient=gradient,
            gradients={
                "W_enc": sparse.exact(self.product(through.mT, centred)),
                "b_enc": g_b_enc,
                "W_dec": sparse.exact(self.product(f.mT, gradient)),
                "b_dec": self.rows_gradient(p, gradient, g_b_enc),
            },
        )
