"""ReLU with an L1 penalty (Bricken et al. 2023, Towards monosemanticity; Cunningham et al. 2023).

Loss: mean over rows of ‖x − x̂‖² + λ Σ_j f_j, with decoder rows of unit norm. If tied, the encoder is always the
decoder's transpose (Cunningham et al. 2023).

With λ = 0 and noise in the encoder's input, which the target lacks, it is a denoising autoencoder (Vincent et al.
2008): small pre-activations are mostly noise, and learned biases below zero silence them.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from train.architectures import dense_kernels
from train.architectures.base import Architecture
from train.architectures.step import Parameters, Step, StepContext
from train.kernels import dispatch, sparse


@dataclass(frozen=True, kw_only=True)
class Relu(Architecture):
    l1_coefficient: tuple[float, ...]
    tied: bool = False

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`."""
        p = {**p, "W_enc": p["W_dec"]} if self.tied else p
        centred, pre = self.encode(p, x if context.seen is None else context.seen)
        penalty = self.penalty(self.l1_coefficient, context, x)
        if dispatch.available(pre):
            step = dense_kernels.dense_step(self, p, x, centred, pre, penalty / len(x))
        elif (positive := self.sparsely(pre, 0.0)) is None:
            step = self.dense_step(p, x, centred, pre.relu_(), penalty)
        else:
            step = self.sparse_step(p, x, centred, sparse.where_learners(positive, pre), penalty)
        if self.tied:
            step.gradients["W_dec"] += step.gradients.pop("W_enc")
        return step

    def add_parameters(self, p: Parameters) -> None:
        if self.tied:
            del p["W_enc"]

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded({**p, "W_enc": p["W_dec"]} if self.tied else p, scale)
