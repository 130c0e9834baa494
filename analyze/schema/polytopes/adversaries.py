"""The keys of polytopes/adversaries.json."""

from analyze.format import Number
from analyze.schema.polytopes.common import Interval
from analyze.schema.record import Record, record


@record
class Steps(Record):
    """Steps of one kind."""

    kl: Interval
    kl_median: Number | None
    flips: Interval
    crossings: Interval
    path: Interval
    per_path: Interval


@record
class ScaledSteps(Steps):
    """Random steps that were made longer."""

    scale: Number | None
    reached: Number | None


@record
class Kinds(Record):
    """Adversaries, and their controls."""

    adversary: Steps
    random: Steps
    covariance: Steps
    random_at_path: ScaledSteps
    random_at_kl: ScaledSteps


@record
class Over(Record):
    """The adversaries' over the control's."""

    crossings: Interval
    per_path: Interval


@record
class Ratios(Record):
    """Adversaries against each control."""

    random: Over
    covariance: Over
    random_at_path: Over
    random_at_kl: Over


@record
class Points(Record):
    """Single steps."""

    kl: list[Number]
    crossings: list[Number]


@record
class PointsByKind(Record):
    """Single steps of each kind."""

    adversary: Points
    random: Points
    covariance: Points
    random_at_path: Points
    random_at_kl: Points


@record
class AdversariesAt(Record):
    """Steps of one length at one hook."""

    hook: str
    relative_norm: Number
    layers: list[int]
    rows: int
    kinds: Kinds
    ratios: Ratios
    spearman: Interval
    points: PointsByKind


@record
class Adversaries(Record):
    """Everything that polytopes/adversaries.json has found."""

    tables: list[AdversariesAt]
