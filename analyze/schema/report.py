"""The whole of `metrics.json`: of one run, or of several that are compared."""

from typing import Any

from analyze.format import Number
from analyze.schema.activations import Activations
from analyze.schema.comparisons import Family, ForNothing, Lineage, Pair
from analyze.schema.dictionaries import Dictionary
from analyze.schema.groups import Difference, Grid, Group, Stopping
from analyze.schema.record import Record, key, record
from analyze.schema.truth import Truth

VERSION = 3


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
    devices: list[str] | None  # kinds that computed the rows; None: harvested before they were noted
    toy: dict[str, Any] | None


@record
class ComparedRun(RunInfo):
    """One of several runs, and whether its dictionaries are compared with the configured run's."""

    name: str
    compared: bool
    reason: str | None
    truth: Truth | None


@record
class SharedNgrams(Record):
    """The share of the held-out text's 16-grams and 64-grams that occur in the harvested text."""

    of_16: Number | None = key("16")
    of_64: Number | None = key("64")


@record
class EvaluationInfo(Record):
    """What dictionaries were evaluated on; toy data have no text."""

    sequences: int | None
    rows: int | None
    shared_ngrams: SharedNgrams | None
    dropped_sequences: int | None  # left out of the harvest by text.drop_shared_ngrams; None where it is off


@record
class InputHashes(Record):
    """Hashes of what a report was measured from."""

    evaluation: str
    harvest: str
    dictionaries: dict[str, str]
    polytopes: dict[str, str]  # of the experiments in RUN/polytopes; none in most runs


@record
class ComparisonHashes(Record):
    """Hashes of what a comparison of runs was measured from."""

    analysis: int
    runs: list[str]  # from the configured run to each: "" or "../b/"
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
