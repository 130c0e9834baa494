"""The keys of polytopes/codes.json."""

from analyze.format import Number
from analyze.schema.polytopes.common import Quantiles
from analyze.schema.record import Record, record


@record
class CodesOfLayer(Record):
    """How soft the codes of a layer are."""

    layer: int
    bits: Number | None
    undecided: Number | None
    histogram: list[Number]
    on_rate: Quantiles
    never: int
    always: int
    distinct_codes: int
    hard_fvu: Number | None  # None where maps are quadratic given the code


@record
class Added(Record):
    """What the loss gains, in nats, with its standard error."""

    added: Number | None
    error: Number | None


@record
class HardLayer(Added):
    """What it gains where one layer alone is hard."""

    layer: int


@record
class Hardening(Record):
    """The loss at each sharpness, None for infinity."""

    sequences: int
    tokens: int
    clean: Number | None
    sharpness: list[Number | None]
    curve: list[Added]
    hard_layers: list[HardLayer]


@record
class Codes(Record):
    """Everything that polytopes/codes.json has found."""

    layers: list[CodesOfLayer]
    untrained: list[CodesOfLayer] | None
    loss: Hardening
