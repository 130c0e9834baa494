"""The keys of polytopes/scaling.json."""

from analyze.format import Number
from analyze.schema.polytopes.common import Interval, Quantiles
from analyze.schema.record import Record, record


@record
class OverFactors(Record):
    """The distribution over rows at each factor."""

    mean: list[Number | None]
    min: list[Number | None]
    q05: list[Number | None]
    q25: list[Number | None]
    median: list[Number | None]
    q75: list[Number | None]
    q95: list[Number | None]
    max: list[Number | None]


@record
class Steps(Record):
    """What steps of one kind change."""

    kl: OverFactors
    top_kept: list[Number | None]
    hamming: OverFactors | None  # None where no layer is later


@record
class Kinds(Record):
    """Scaling, and its controls."""

    scaled: Steps
    random: Steps
    about_mean: Steps


@record
class UpAndDown(Record):
    """Crossings from 1 to either end of the grid."""

    up: Quantiles
    down: Quantiles


@record
class Exact(UpAndDown):
    """Crossings in the first layer: all, and as many as the grid finds."""

    sampled_up: Quantiles
    sampled_down: Quantiles


@record
class Validity(Record):
    """The factors around 1 over which a row keeps its meaning."""

    low: Quantiles
    high: Quantiles
    of_row: list[list[Number | None]]
    at_edge: list[Number | None]
    coverage: Interval


@record
class Criteria(Record):
    """Validity by each criterion, and that of the controls by `kl`."""

    kl: Validity
    top: Validity
    cluster: Validity | None
    kl_random: Validity
    kl_about_mean: Validity


@record
class OfCluster(Record):
    """Validity of the rows of one cluster."""

    cluster: int
    rows: int
    low: Number | None
    high: Number | None


@record
class Natural(Record):
    """The range of norms of similar rows over the row's own."""

    low: Quantiles
    high: Quantiles
    clustering: str | None
    in_cluster: int
    clusters: list[OfCluster]


@record
class ScaledHook(Record):
    """Rows scaled at one hook."""

    hook: str
    layer: int
    kinds: Kinds
    boundaries: int
    crossings: UpAndDown
    exact: Exact | None
    validity: Criteria
    natural: Natural


@record
class Scaling(Record):
    """Everything that polytopes/scaling.json has found."""

    rows: int
    tolerance: Number
    factors: list[Number]
    hooks: list[ScaledHook]
