"""The keys of polytopes/maps.json."""

from analyze.format import Number
from analyze.schema.polytopes.common import Quantiles
from analyze.schema.record import Record, record


@record
class Histogram(Record):
    """How many neurons lie between edges."""

    counts: list[Number]
    edges: list[Number]


@record
class Flips(Record):
    """The distance of two rows' maps relative to the map's norm, and as it were if neurons flipped independently."""

    independent: Number | None
    observed: Number | None
    ratio: Number | None


@record
class RankCorrelation(Record):
    """Spearman's correlation of jumps and effects."""

    of_mean: Number | None
    of_row: Number | None
    low: Number | None
    high: Number | None


@record
class Scatter(Record):
    """Neurons with their jump and effect."""

    neuron: list[int]
    jump: list[Number | None]
    effect: list[Number | None]
    kappa: list[Number | None]


@record
class Effects(Record):
    """What crossing a boundary does to the output, relative to the whole map."""

    rows: int
    labels: int
    relative: Quantiles
    spearman: RankCorrelation
    scatter: Scatter


@record
class Jumps(Record):
    """How different neighbouring maps of a layer are."""

    layer: int
    rho: Quantiles
    rho_histogram: Histogram
    jumps: Quantiles
    kappa: Quantiles
    map_norm: Quantiles
    flips: Flips
    hard_flips: Flips
    sharpness: Number | None
    pairs: int


@record
class MapsOfLayer(Jumps):
    """The same of the model, with effects."""

    effects: Effects


@record
class Maps(Record):
    """Everything that polytopes/maps.json has found."""

    reason: str | None  # why the rest is None
    layers: list[MapsOfLayer] | None
    untrained: list[Jumps] | None
