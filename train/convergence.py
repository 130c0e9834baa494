"""Has a dictionary stopped learning? The rule by which `train.rows = "converged"` ends a training.

This is the only place that decides it: the report shows the verdict that `record` writes into training.json.

Held-out rows are evaluated at log-spaced rows of the training, all while the rate is still full: what falls later
falls because of the rate. With ℓ(r) the evaluation loss and d_j(r) the unit decoder directions after r rows, the rule
compares r with r/2:

    slope            ln(ℓ(r) / ℓ(r/2)) / ln 2, the relative change of the loss for each doubling of the rows
    self-similarity  the mean of d_j(r) · d_j(r/2) over the latents that are alive at r

A dictionary stands still where |slope| is at most `train.slope_bound` and self-similarity at least
`train.similarity_bound`. So does one whose rate is too low to move it. The rule therefore asks besides that it has
learned since its start, at row 0:

    FVU                on the held-out rows: below 1, which the mean activation alone reaches
    loss share         ℓ(r) / ℓ(0): at most LEARNED_LOSS
    start similarity   the mean of d_j(r) · d_j(0) over the latents that are alive at r: at most LEFT_START

What stands still and has learned is "converged": the rate falls to zero over the rows that make `train.decay` of the
whole, and the dictionary is done. What stands still and has not learned is "stalled": its training goes on.

A training of fixed rows is judged by the same bounds: its slope is that of the last doubling at full rate, its
self-similarity is that of the finished directions with those at half of all rows, and whether it has learned is judged
when it is finished.
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


# A learning rate of 1e-5 leaves cosines above 0.999; what learns comes below 0.9 (docs/guide/train.md has the figures)
LEFT_START = 0.99
LEARNED_LOSS = 0.95


class EvaluationPoint(NamedTuple):
    """An evaluation while the rate is full."""

    rows: int
    loss: float


class Progress(NamedTuple):
    """How far a dictionary has come from its start; None is what an older checkpoint did not keep."""

    fvu: float | None = None
    loss_share: float | None = None  # held-out loss, divided by that of the start
    start_similarity: float | None = None

    @property
    def learned(self) -> bool:
        """Whether it has learned; what is not known does not speak against it."""
        return (
            (self.fvu is None or self.fvu < 1)
            and (self.loss_share is None or self.loss_share <= LEARNED_LOSS)
            and (self.start_similarity is None or self.start_similarity <= LEFT_START)
        )


class Convergence:
    """The rule for one dictionary. Evaluation points are numbered backwards: 0 is the last possible one.

    start: the decoder directions at row 0, which are not changed; None where nobody will ask for the verdict.
    """

    def __init__(
        self, settings: DictionarySettings, held_out_rows: int, start: Float[Tensor, "n d"] | None = None
    ) -> None:
        self.start = start
        self.start_loss: float | None = None  # held-out loss at row 0
        self.progress = Progress()
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

    def measure_progress(self, loss: float, fvu: float, W_dec: Float[Tensor, "n d"], alive: Bool[Tensor, " n"]) -> None:
        """Measure how far the dictionary has come from its start."""
        share = loss / self.start_loss if self.start_loss else None
        similarity = (
            None if self.start is None else self_similarity(W_dec, self.start.to(W_dec.device), alive, self.collectives)
        )
        self.progress = Progress(fvu, share, similarity)

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
        """Whether the dictionary, as last measured, stands still and has learned."""
        return self.stands_still and self.progress.learned

    @property
    def stalled(self) -> bool:
        """Whether it stands still without having learned."""
        return self.stands_still and not self.progress.learned

    @property
    def stands_still(self) -> bool:
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
            **self.progress._asdict(),
            "converged": self.holds,
            "stalled": self.stalled,
            "reason": reason,  # why it ended: the number of rows, the rule, or the ceiling before the rule held
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Collect tensors and numbers from which `load_state` goes on."""
        tensors = {f"copy.{number}": copy for number, copy in self.copies.items()}
        return tensors, {
            "looks": {str(number): list(point) for number, point in self.points.items()},  # the checkpoints' name
            "slope": self.slope,
            "self_similarity": self.self_similarity,
            "start_loss": self.start_loss,
            "progress": list(self.progress),
            "ends": self.ends,
        }

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], device: torch.device) -> None:
        """Restore what `state` returned; other names in `tensors` are ignored."""
        copies = {name: copy for name, copy in tensors.items() if name.startswith("copy.")}
        self.copies = {int(name.removeprefix("copy.")): copy.to(device) for name, copy in copies.items()}
        self.points = {int(number): EvaluationPoint(*point) for number, point in numbers["looks"].items()}
        self.slope, self.self_similarity = numbers["slope"], numbers["self_similarity"]
        self.start_loss = numbers.get("start_loss")  # checkpoints of older versions have none
        self.progress = Progress(*numbers.get("progress", ()))
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
