"""The whole of `metrics.json`: of one run, or of several that are compared."""

from typing import Any

from analyze.schema.activations import Activations
from analyze.schema.comparisons import Family, ForNothing, Lineage, Pair
from analyze.schema.dictionaries import Dictionary
from analyze.schema.groups import Difference, Grid, Group, Stopping
from analyze.schema.record import Record, record
from analyze.schema.truth import Truth

VERSION = 2


@record
class RunInfo(Record):
    """Which run this is; what does not apply to it is None."""

    path: str | None
    model: str | None
    text: str | None
    context: int | None
    tokens: int | None
    rows: int | None
    positions: str | None
    toy: dict[str, Any] | None


@record
class ComparedRun(Record):
    """One of several runs, and whether its dictionaries are compared with the configured run's."""

    name: str
    path: str | None
    model: str | None
    text: str | None
    context: int | None
    tokens: int | None
    rows: int | None
    positions: str | None
    toy: dict[str, Any] | None
    compared: bool
    reason: str | None
    truth: Truth | None


@record
class EvaluationInfo(Record):
    """What dictionaries were evaluated on."""

    sequences: int | None
    rows: int | None


@record
class InputHashes(Record):
    """Hashes of what a report was measured from."""

    evaluation: str
    harvest: str
    dictionaries: dict[str, str]


@record
class ComparisonHashes(Record):
    """Hashes of what a comparison of runs was measured from."""

    analysis: int
    runs: list[str]
    harvest: str
    dictionaries: dict[str, str]


@record
class Shown(Record):
    """How a metric is shown by who does not know the schema: the model card."""

    key: str
    title: str
    unit: str
    format: str


@record
class ShownOf(Record):
    """The metrics that the model card shows of each dictionary and of each pair."""

    dictionaries: list[Shown]
    pairs: list[Shown]


@record
class Metrics(Record):
    """Everything that `metrics.json` holds."""

    version: int
    run: RunInfo | None
    evaluation: EvaluationInfo | None
    runs: list[ComparedRun] | None  # in a comparison of several runs
    dictionaries: list[Dictionary] | None
    pairs: list[Pair] | None
    ceilings: list[Pair] | None
    controls: list[ForNothing] | None
    families: list[Family] | None
    lineages: list[Lineage] | None
    choosing: list[Grid] | None
    truth: Truth | None
    groups: list[Group] | None
    differences: list[Difference] | None
    stopping: list[Stopping] | None
    activations: list[Activations] | None
    shown: ShownOf | None
    inputs: InputHashes | ComparisonHashes | None
