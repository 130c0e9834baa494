"""The keys of polytopes/density.json and polytopes/radius.json."""

from analyze.format import Number
from analyze.schema.polytopes.common import Interval, Quantiles
from analyze.schema.record import Record, record


@record
class Densities(Record):
    """Boundaries per unit of length, by kind of line."""

    same: Interval
    different: Interval
    random: Interval
    gaussian: Interval


@record
class Ratio(Interval):
    """A ratio of densities, and of the lengths of the lines."""

    length_ratio: Number | None


@record
class Compared(Record):
    """Lines between labels against lines within, and the controls."""

    density: Densities
    ratio: Ratio
    permuted: Ratio
    untrained: Ratio | None
    random: Ratio
    gaussian: Ratio
    unmatched: Number | None


@record
class DensityOfLayer(Record):
    """The boundaries of one layer."""

    layer: int
    before_norm: bool
    length: Quantiles
    full_share: Number | None
    crossings: Compared
    soft: Compared


@record
class Through(Record):
    """Boundaries of all later layers on lines in the residual stream after a layer, sampled: a lower bound."""

    layer: int
    boundaries: int
    lines: int
    points: Quantiles
    same: Interval
    different: Interval
    ratio: Ratio


@record
class DensityByLabel(Record):
    """Lines by one label."""

    label: str
    pairs: int
    classes: int
    layers: list[DensityOfLayer]
    through: list[Through | None] | None  # None in files made before it was measured


@record
class Density(Record):
    """Everything that polytopes/density.json has found."""

    labels: list[DensityByLabel]


@record
class Profile(Record):
    """Boundaries in each bin of the radius, with standard errors."""

    density: list[Number | None]
    error: list[Number | None]


@record
class Rays(Record):
    """Rays of each kind from one centre."""

    median_radius: Number | None
    natural: list[Number | None]
    data: Profile
    isotropic: Profile
    gaussian: Profile


@record
class Spaces(Record):
    """Where the rays run."""

    residual: Rays | None  # None without a norm
    read: Rays
    read_from_origin: Rays


@record
class RadiusOfLayer(Record):
    """The rays of one layer."""

    layer: int
    spaces: Spaces


@record
class Radius(Record):
    """Everything that polytopes/radius.json has found."""

    rays: int
    edges: list[Number]
    layers: list[RadiusOfLayer]
    untrained: list[RadiusOfLayer] | None
