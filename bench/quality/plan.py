"""Which dictionaries are trained: every trainer, architecture, sparsity, learning rate and seed.

A trainer's architectures are those it has. k-architectures take the targets' L0 directly; the others four penalties
each, whose L0 at the end lies around the targets. Of five rates, each trainer's best
with the first seed counts, by architecture and target; the other seeds have that one alone.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

ARCHITECTURES = ("relu", "topk", "batchtopk", "jumprelu", "gated", "matryoshka")
TARGETS = (12, 24, 48)  # L0 at which trainers are compared
SEEDS = (0, 1, 2)
K = tuple(map(float, TARGETS))

# What a trainer's defaults leave open or give as a number of steps, as a share of the steps. For all of them:
WARMUP = 0.05  # the rate rises; so does a penalty
DECAY = 0.2  # the rate falls to 0 over the last fifth
DEAD_AFTER = 0.1  # a latent that was silent for so long is dead


class Grid(NamedTuple):
    """What a trainer's dictionaries of one architecture are tried with."""

    sparsities: Sequence[float]  # k, or weights of the penalty in the trainer's own units
    rates: Sequence[float]


MIDDLE = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
HIGH = (4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2)
BY_K = Grid(K, MIDDLE)
GRIDS: dict[str, dict[str, Grid]] = {
    "winnow": {
        "relu": Grid((1.0, 1.6, 2.5, 4.0), MIDDLE),
        "topk": BY_K,
        "batchtopk": BY_K,
        "jumprelu": Grid((0.12, 0.3, 0.8, 2.5), HIGH),
        "gated": Grid((1.4, 2.1, 3.2, 5.0), MIDDLE),
        "matryoshka": BY_K,
    },
    "sae_lens": {
        "relu": Grid((0.7, 1.2, 2.0, 3.2), MIDDLE),
        "topk": BY_K,
        "batchtopk": BY_K,
        "jumprelu": Grid((0.1, 0.3, 1.0, 3.0), HIGH),
        "gated": Grid((1.0, 1.6, 2.5, 4.0), MIDDLE),
        "matryoshka": BY_K,
    },
    "dictionary_learning": {
        "relu": Grid((0.07, 0.11, 0.17, 0.26), MIDDLE),
        "topk": BY_K,
        "batchtopk": BY_K,
        "jumprelu": Grid((10.0, 18.0, 32.0, 56.0), MIDDLE),  # its penalty is the distance from a target L0
        "gated": Grid((0.1, 0.2, 0.4, 0.8), MIDDLE),
        "matryoshka": BY_K,
    },
    "sparsify": {"topk": BY_K},
}
TRAINERS = tuple(GRIDS)


class Cell(NamedTuple):
    """One dictionary."""

    trainer: str
    architecture: str
    sparsity: float  # k, or the weight of the penalty
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.trainer}-{self.architecture}-{self.sparsity:g}-lr{self.rate:g}-seed{self.seed}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What is the same for every cell."""

    activations: str  # folder of the store
    hook: str
    rows: int
    batch_rows: int
    n_latents: int
    held_out_rows: int  # at the end of the store; none is trained on

    @property
    def steps(self) -> int:
        return self.rows // self.batch_rows

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scope:
    """Which part of the plan is asked for."""

    trainers: Sequence[str] = TRAINERS
    architectures: Sequence[str] = ARCHITECTURES
    seeds: Sequence[int] = SEEDS
    few: bool = False  # only two rates, and the least and the greatest sparsity


def cells(scope: Scope) -> list[Cell]:
    """List the cells of a scope's first seed, from which the best rates follow."""
    found = []
    for trainer in scope.trainers:
        for architecture, (values, rates) in GRIDS[trainer].items():
            if architecture in scope.architectures:
                if scope.few:
                    values, rates = (values[0], values[-1]), rates[2:4]
                options = itertools.product(values, rates, scope.seeds[:1])
                found += [Cell(trainer, architecture, *option) for option in options]
    return found


def groups(missing: Iterable[Cell], *, apart: bool = True) -> list[list[Cell]]:
    """Group cells for one process each: by trainer and, if `apart`, by architecture and seed; the largest first."""
    found: dict[object, list[Cell]] = {}
    for cell in missing:
        found.setdefault((cell.trainer, *((cell.architecture, cell.seed) if apart else ())), []).append(cell)
    return sorted(found.values(), key=len, reverse=True)
