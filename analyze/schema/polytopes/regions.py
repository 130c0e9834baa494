"""The keys of polytopes/regions.json."""

from analyze.format import Number
from analyze.schema.record import Record, key, record


@record
class Fvu(Record):
    """An FVU with its 95% interval."""

    fvu: Number | None
    low: Number | None
    high: Number | None


@record
class Fitted(Fvu):
    """The same of fitted maps."""

    ridge: Number | None = key("lambda")


@record
class Curves(Record):
    """The FVU of each kind of map, for each number of centres."""

    ridge: list[Fitted]
    constant: list[Fvu]
    shared_code: list[Fvu] | None  # None where maps are quadratic given the code
    tangent: list[Fvu]
    random_centres: list[Fitted]
    shuffled: list[Fitted]


@record
class Split(Record):
    """How many rows were for what."""

    train: int
    validation: int
    test: int


@record
class Size(Record):
    """Numbers that the layer itself takes."""

    stored: int
    multiplications: int


@record
class RegionsOfLayer(Record):
    """A layer as a lookup among maps."""

    layer: int
    rows: Split
    centres: list[int]
    curves: Curves
    hard_code: Fvu | None  # None where maps are quadratic given the code
    zero: Fvu
    stored: list[int]
    multiplications: list[int]
    mlp: Size


@record
class Regions(Record):
    """Everything that polytopes/regions.json has found."""

    layers: list[RegionsOfLayer]
