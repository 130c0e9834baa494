"""Held-out rows, the end of a store on which no dictionary is trained, and how well dictionaries reconstruct them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from train.cores import ParallelMap
from train.kernels import sparse
from train.learner import Learner
from train.link import Link, send_ahead
from train.schedule import fewest_rows
from train.settings import DictionarySettings
from winnow.dictionary import Dictionary
from winnow.errors import UserError
from winnow.massive.kept import KeptRows
from winnow.store import ActivationStore

SHARE = 100  # one row in this many is held out,
MOST = 65_536  # but at most this many rows
EVALUATED = 200  # each evaluation uses one held-out row for this many rows trained on, and at least a batch
SPARSE_BELOW = 0.03  # density below which gathering the active latents beats a dense product on the CPU


class Evaluation(NamedTuple):
    """A dictionary's results on held-out rows: sums over the rows, in units of the scaled activations."""

    rows: float
    squared_error: float
    active: float
    magnitude: float  # of the latents
    variance: float  # squared distance of the rows from the mean of everything harvested

    def loss(self, settings: DictionarySettings) -> float:
        """Return the mean of ‖x − x̂‖² plus the sparsity penalty at full weight, both of the dictionary as saved."""
        penalty = (settings.l1_coefficient or 0.0) * self.magnitude + (settings.l0_coefficient or 0.0) * self.active
        return (self.squared_error + penalty) / self.rows

    @property
    def fvu(self) -> float:
        return self.squared_error / self.variance

    @property
    def l0(self) -> float:
        return self.active / self.rows

    def point(self, settings: DictionarySettings) -> dict[str, float]:
        """Return the numbers under their names in the curve."""
        return {
            "eval_loss": self.loss(settings),
            "eval_fvu": self.fvu,
            "eval_l0": self.l0,
        }


def first_held_out(store: ActivationStore | KeptRows, asked: int | Literal["auto"]) -> int:
    """Return the first held-out row: the first of a sequence, so that no sequence is on both sides.

    Raises `UserError` if nothing would be left to train on.
    """
    count = max(1, min(store.rows // SHARE, MOST)) if asked == "auto" else asked
    start = store.rows - count
    if start > 0:
        sequences = store.tokens(max(0, start - store.context), start + 1).sequence
        start -= int((sequences[:-1] == sequences[-1]).count_nonzero())
    if start <= 0:
        if count == 1 or store.rows < 2:
            raise UserError(
                f"{store.path}: all {store.rows} rows are of one sequence; one is held out, and none is left to train "
                "on; harvest more in a new run"
            )
        raise UserError(
            f"train.held_out_rows: {count} rows, in whole sequences, are all of the {store.rows} in {store.path}, and "
            "none is left to train on; hold out fewer, or harvest more"
        )
    return start


def evaluated_rows(settings: DictionarySettings, held_out_rows: int) -> int:
    """Return how many held-out rows each evaluation uses: a short training uses only part of a long tail."""
    return min(held_out_rows, max(settings.batch_rows, int(fewest_rows(settings)) // EVALUATED))


@runtime_checkable
class EvaluationRows(Protocol):
    """Rows that dictionaries are evaluated on, the same at every pass."""

    def batches(self) -> Iterable[Float[Tensor, "row d"]]:
        """Yield them."""
        ...


class HeldOutRows:
    """Held-out rows of one hook, as the dictionaries see them; each pass reads them from the store again."""

    def __init__(
        self,
        kept: KeptRows,
        rows: range,
        batch_rows: int,
        prepare: Callable[[Tensor], Float[Tensor, "row d"]],
        link: Link | None = None,
    ) -> None:
        self.kept = kept
        self.rows = rows
        self.batch_rows = batch_rows
        self.prepare = prepare  # scales rows, and moves them to the device,
        self.link = link  # where no link to it has done so before

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[Float[Tensor, "row d"]]:
        """Yield the rows in the order of the store."""
        stop = self.rows.stop
        read = (self.kept.read(start, min(start + self.batch_rows, stop)) for start in self.rows[:: self.batch_rows])
        yield from map(self.prepare, send_ahead(read, self.link))


def evaluate(
    learners: Sequence[Learner],
    held_out: EvaluationRows,
    mean: Float[Tensor, " d"],
    in_parallel: ParallelMap,
) -> list[Evaluation]:
    """Measure dictionaries as they would be saved, in one pass over the held-out rows.

    mean: of everything harvested, scaled. in_parallel: see train/cores.py.
    """
    if not learners:
        return []
    dictionaries = [learner.dictionary(scale=1.0) for learner in learners]
    sums: list[Tensor | float] = [0.0] * len(learners)

    for x in held_out.batches():

        def add(number: int, x: Tensor = x) -> None:
            sums[number] = sums_on(dictionaries[number], x, mean) + sums[number]

        in_parallel(add, range(len(learners)))
    return [Evaluation(*torch.as_tensor(total).tolist()) for total in sums]


@torch.no_grad()
def sums_on(dictionary: Dictionary, x: Float[Tensor, "row d"], mean: Float[Tensor, " d"]) -> Float[Tensor, " quantity"]:
    """Sum the fields of `Evaluation` over rows `x`, for a dictionary of scaled activations; float64."""
    f = dictionary.encode(x)
    positive = f > 0
    active = positive.count_nonzero()
    if x.device.type == "cpu" and int(active) < SPARSE_BELOW * f.numel():
        reconstruction = sparse.decode(sparse.where(positive, f), dictionary.W_dec).add_(dictionary.b_dec)
    else:
        reconstruction = dictionary.decode(f)
    squared_error = reconstruction.sub_(x).square_().sum()
    variance = (x - mean).square_().sum()
    rows = torch.full_like(variance, len(x))
    return torch.stack([rows, squared_error, active, f.sum(), variance]).double()
