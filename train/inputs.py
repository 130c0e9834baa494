"""The rows of one step, as each stack sees them: as harvested, with noise beside them, or Gaussian."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from train.normal import Drawn
from train.settings import GAUSSIAN_ROWS, DictionarySettings
from train.stack import Stack


class Inputs:
    """Rows [start, start + len(x)) of the training; what no stack asks for is not drawn.

    x: harvested rows, scaled and on the device.
    """

    def __init__(self, x: Float[Tensor, "row d"], start: int, drawn: Drawn, stacks: Sequence[Stack]) -> None:
        stop = start + len(x)
        self.x = x
        self.gaussian = drawn.gaussian.read(start, stop) if any(s.gaussian for s in stacks) else x
        self.noise = drawn.noise(start, stop) if any(any(s.noise) for s in stacks) else None
        self._variances = {s.gaussian: _variance(self._rows(s.gaussian), drawn.mean) for s in stacks}

    def of(self, settings: DictionarySettings) -> Float[Tensor, "row d"]:
        """Return the rows that a dictionary reconstructs."""
        return self._rows(settings.control == GAUSSIAN_ROWS)

    def train(self, stack: Stack) -> None:
        """Let a stack take a step on its rows."""
        stack.train_on(self._rows(stack.gaussian), self._variances[stack.gaussian], self.noise)

    def _rows(self, gaussian: bool) -> Tensor:
        return self.gaussian if gaussian else self.x


def _variance(x: Float[Tensor, "row d"], mean: Float[Tensor, " d"]) -> Float[Tensor, ""]:
    return (x - mean).square_().sum()
