"""What several experiments' results hold."""

from analyze.format import Number
from analyze.schema.record import Record, record


@record
class Interval(Record):
    """A mean or a ratio with its 95% bootstrap interval."""

    value: Number | None
    low: Number | None
    high: Number | None


@record
class Quantiles(Record):
    """The distribution of a number."""

    mean: Number | None
    min: Number | None
    q05: Number | None
    q25: Number | None
    median: Number | None
    q75: Number | None
    q95: Number | None
    max: Number | None
