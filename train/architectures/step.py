"""What a step of a dictionary is given, and what it returns."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from train.kernels import dispatch
from train.kernels.sparse import Listed

Parameters = dict[str, Tensor]


class StepContext(NamedTuple):
    """The state of a training when it takes a step."""

    warm: float  # the sparsity penalty's weight, as a share of its full weight
    dead: Bool[Tensor, "learner n"]  # latents that have not fired for long
    seen: Float[Tensor, "learner row d"] | None = None  # the rows as the encoder sees them, where noise is added


class Step(NamedTuple):
    """The mean loss over a batch, its gradients, and sums over the batch for the metrics."""

    loss: Float[Tensor, " learner"]  # mean over rows, penalties included
    squared_error: Float[Tensor, " learner"]  # sum over rows
    active: Int[Tensor, " learner"]  # sum over rows of latents > 0
    fired: Bool[Tensor, "learner n"]
    gradient: Float[Tensor, "learner row d"]  # of the reconstruction, by the squared error alone: 2 (x̂ − x) / rows
    gradients: Parameters
    lists: Mapping[str, Listed] = MappingProxyType({})  # gradients that are not summed yet

    def finished(self) -> "Step":
        """Sum the gradients now, unless a kernel does it while it takes the step (train/kernels/update.py)."""
        return self if dispatch.available(self.loss) else self.summed()

    def summed(self) -> "Step":
        """Sum the gradients that are not summed yet."""
        summed = {name: listed.summed().view(*self.fired.shape, -1) for name, listed in self.lists.items()}
        return self._replace(gradients=self.gradients | summed, lists={})

    def plus(self, name: str, gradient: Float[Tensor, "latent d"]) -> "Step":
        """Add to a weight's gradient."""
        if name in self.lists:
            return self._replace(lists={**self.lists, name: self.lists[name].plus(gradient)})
        self.gradients[name] += gradient.view_as(self.gradients[name])
        return self
