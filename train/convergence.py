"""Has a dictionary stopped learning? The rule by which `train.rows = "converged"` ends a training.

This is the only place that decides it: the report shows the verdict that `record` writes into training.json.

Held-out rows are evaluated at log-spaced rows of the training, all while the rate is still full: what falls later
falls because of the rate. With ℓ(r) the evaluation loss and d_j(r) the unit decoder directions after r rows, the rule
compares r with r/2:

    slope            ln(ℓ(r) / ℓ(r/2)) / ln 2, the relative change of the loss for each doubling of the rows
    self-similarity  the mean of d_j(r) · d_j(r/2) over the latents that are alive at r

and holds where |slope| is at most `train.slope_bound` and self-similarity at least `train.similarity_bound`. Then the
rate falls to zero over the rows that make `train.decay` of the whole, and the dictionary is done.

A training of fixed rows is judged by the same bounds: its slope is that of the last doubling at full rate, and its
self-similarity is that of the finished directions with those at half of all rows.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from train.collectives import ALONE, Collectives
from train.schedule import CONVERGED, OCTAVES, most_rows
from train.settings import DictionarySettings

WORTH_ROWS = 64  # rows trained on for each held-out row before the first evaluation: it costs as much as a step
HALF = -1  # the copy of the directions at half of a fixed number of rows


class EvaluationPoint(NamedTuple):
    """An evaluation while the rate is full."""

    rows: int
    loss: float


class Convergence:
    """The rule for one dictionary. Evaluation points are numbered backwards: 0 is the last possible one."""

    def __init__(self, settings: DictionarySettings, held_out_rows: int) -> None:
        self.asked = settings.rows == CONVERGED
        self.slope_bound: float = settings.slope_bound
        self.similarity_bound: float = settings.similarity_bound
        most = most_rows(settings)
        self.per_doubling = 2 if self.asked else 1
        last = most * (1 - settings.decay) or most
        first = min(last / 2, max(WORTH_ROWS * held_out_rows, last / 2**OCTAVES))
        self.due_at = [last / 2 ** (i / self.per_doubling) for i in range(1 + _steps(last / first, self.per_doubling))]
        self.half = most / 2
        self.points: dict[int, EvaluationPoint] = {}  # by number: those evaluated so far
        self.copies: dict[int, Tensor] = {}
        self.slope: float | None = None
        self.self_similarity: float | None = None
        self.ends: int | None = None  # rows, once the rule has held
        self.collectives = ALONE  # with the processes that hold the other latents, where a dictionary is shared

    def point_due(self, before: int, rows: int) -> int | None:
        """Return the number of the evaluation point that the step from `before` to `rows` reaches, or None."""
        if self.ends is not None:
            return None
        return min((number for number, due in enumerate(self.due_at) if before < due <= rows), default=None)

    def keep_half(self, before: int, rows: int, W_dec: Float[Tensor, "n d"]) -> None:
        """Copy the directions where the step from `before` to `rows` passes half of a fixed number of rows."""
        if not self.asked and before < self.half <= rows:
            self.copies[HALF] = W_dec.clone()

    def add_point(
        self, number: int, rows: int, loss: float, W_dec: Float[Tensor, "n d"], alive: Bool[Tensor, " n"]
    ) -> bool:
        """Add an evaluation point, and return whether the training ends by the rule; one of fixed rows never does."""
        self.points[number] = EvaluationPoint(rows, loss)
        earlier = number + self.per_doubling
        if earlier in self.points:
            self.slope = slope(self.points[earlier], self.points[number])
        if not self.asked:
            return False
        if earlier in self.copies:
            self.self_similarity = self_similarity(W_dec, self.copies[earlier], alive, self.collectives)
        self.copies = {n: copy for n, copy in self.copies.items() if n < earlier} | {number: W_dec.clone()}
        return self.holds

    def finish(self, W_dec: Float[Tensor, "n d"], alive: Bool[Tensor, " n"]) -> None:
        """Compare the finished directions of fixed rows with those at half of them."""
        if HALF in self.copies:
            self.self_similarity = self_similarity(W_dec, self.copies[HALF], alive, self.collectives)

    @property
    def holds(self) -> bool:
        """Whether slope and self-similarity, as last measured, are within their bounds."""
        return (
            self.slope is not None
            and self.self_similarity is not None
            and abs(self.slope) <= self.slope_bound
            and self.self_similarity >= self.similarity_bound
        )

    def record(self) -> dict[str, Any]:
        """Compose the verdict and its numbers for training.json, where analyze reads them.

        A number is null, and the verdict false, where too few rows were seen to measure it.
        """
        reason = "rows" if not self.asked else "ceiling" if self.ends is None else "converged"
        return {
            "slope": self.slope,
            "self_similarity": self.self_similarity,
            "converged": self.holds,
            "reason": reason,  # why it ended: the number of rows, the rule, or the ceiling before the rule held
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Collect tensors and numbers from which `load_state` goes on."""
        tensors = {f"copy.{number}": copy for number, copy in self.copies.items()}
        return tensors, {
            "looks": {str(number): list(point) for number, point in self.points.items()},  # the checkpoints' name
            "slope": self.slope,
            "self_similarity": self.self_similarity,
            "ends": self.ends,
        }

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], device: torch.device) -> None:
        """Restore what `state` returned; other names in `tensors` are ignored."""
        copies = {name: copy for name, copy in tensors.items() if name.startswith("copy.")}
        self.copies = {int(name.removeprefix("copy.")): copy.to(device) for name, copy in copies.items()}
        self.points = {int(number): EvaluationPoint(*point) for number, point in numbers["looks"].items()}
        self.slope, self.self_similarity = numbers["slope"], numbers["self_similarity"]
        self.ends = numbers["ends"]


def slope(earlier: EvaluationPoint, later: EvaluationPoint) -> float | None:
    """Compute d ln loss / d ln rows between two points; None where they are one, or a loss is not above zero."""
    if later.rows <= earlier.rows or min(earlier.loss, later.loss) <= 0:
        return None
    return math.log(later.loss / earlier.loss) / math.log(later.rows / earlier.rows)


def self_similarity(
    now: Float[Tensor, "n d"], before: Float[Tensor, "n d"], alive: Bool[Tensor, " n"], collectives: Collectives = ALONE
) -> float | None:
    """Average the cosine of each living latent's direction with its own at an earlier time; both have unit norm."""
    cosines = torch.linalg.vecdot(now, before)[alive].double()
    total, count = collectives.all_reduce(torch.stack([cosines.sum(), alive.count_nonzero().double()])).tolist()
    return total / count if count else None


def _steps(ratio: float, per_doubling: int) -> int:
    """Count how often 2**(1/per_doubling) fits into a ratio, forgiving rounding."""
    return math.floor(per_doubling * math.log2(ratio) + 1e-9)
