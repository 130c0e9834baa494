"""What `metrics.json` says of dictionaries of a kind: grids of sizes and sparsities, seeds, where training stopped."""

from typing import Any

from analyze.format import Number
from analyze.schema.activations import Numbers, Table
from analyze.schema.dictionaries import Sparsity
from analyze.schema.record import Record, key, record


@record
class Stickiness(Record):
    """How strongly each term of the loss responds to size and sparsity."""

    deprecated: bool
    mse_by_sparsity: Table | None
    mse_by_size: Table | None
    l1_by_sparsity: Table | None
    l1_by_size: Table | None


@record
class GridTruth(Record):
    """The grid, judged by the truth."""

    mmcs: Table
    mmcs_corrected: Table
    learned: Table
    recovered: Table


@record
class Cell(Record):
    """A cell of the grid, with its scores by the truth."""

    n_latents: int
    sparsity: Number
    size_ratio: Number | None
    converged: bool
    found: Number | None
    alike: Number | None
    learned: Number | None
    recovered: Number | None


@record
class Choice(Record):
    """What one criterion picks, and how good a guide it is."""

    cells: int
    picked: Cell | None
    regret: Number | None
    rank_correlation: Number | None
    regret_alike: Number | None
    rank_correlation_alike: Number | None


@record
class Criteria(Record):
    """What each criterion that does not know the truth picks."""

    mmcs_next: Choice
    mmcs_next_corrected: Choice
    mmcs_next_living: Choice
    elbow: Choice
    decoder_cosine: Choice


@record
class Judged(Record):
    """The choice among some of the cells."""

    cells: int
    criteria: Criteria


@record
class Best(Record):
    """The best cells by the truth."""

    found: Cell | None
    alike: Cell | None


@record
class Verdict(Record):
    """Whether criteria that do not know the truth find the best cell."""

    best: Best
    converged: Judged
    all_: Judged = key("all")


@record
class Grid(Record):
    """Dictionaries of a kind by size (rows) and sparsity (columns)."""

    hook: str
    architecture: str
    options: dict[str, Any] | None
    seed: int | None
    sparsity: str
    sizes: list[int]
    sparsities: Numbers
    dead_fraction: Table | None
    alive_fraction: Table | None
    l0: Table | None
    fvu: Table | None
    decoder_cosine: Table | None
    mse: Table | None
    l1: Table | None
    converged: Table | None
    mmcs_next: Table | None
    mmcs_next_corrected: Table | None
    stickiness: Stickiness | None
    truth: GridTruth | None
    verdict: Verdict | None


@record
class Interval(Record):
    """A mean over seeds, and where it lies with 95 % confidence."""

    known: int
    mean: Number | None
    low: Number | None
    high: Number | None


@record
class Group(Record):
    """Dictionaries that differ in their seed alone."""

    hook: str
    architecture: str
    n_latents: int
    sparsity: Sparsity | None
    options: dict[str, Any] | None
    seeds: list[int | None]
    paths: list[str]
    rows_to_half: Interval | None
    recovered: Interval | None
    mmcs_corrected: Interval | None
    fvu: Interval | None
    l0: Interval | None


@record
class Difference(Record):
    """Two groups that differ in one option alone, by one quantity."""

    from_: int = key("from")
    to: int
    option: str
    of: str
    factor: bool
    mean: Number | None
    low: Number | None
    high: Number | None
    p: Number | None
    p_adjusted: Number | None


@record
class Stopping(Record):
    """A dictionary that the rule of convergence ended, held against the longest training of its kind."""

    path: str
    twin: str | None
    twin_rows: int | None
    held_at: Number | None
    rows: int | None
    recovered_at: Number | None
    recovered: Number | None
    final: Number | None
    share: Number | None
    improved_until: Number | None
