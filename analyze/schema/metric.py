"""A metric: where it stands in `metrics.json`, what it is called, how it is written, and where its formula stands."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from analyze import format as written
from analyze.format import Number
from analyze.schema.record import Record, measured, require


class Form(NamedTuple):
    """How a number is written; `digits` count decimal places, or, of `significant`, all digits."""

    kind: Literal["count", "decimal", "significant", "percent"]
    digits: int = 3

    def write(self, value: Number | None) -> str:
        """Write a number in words and tables, a dash where it was not measured."""
        match self.kind:
            case "count":
                return written.count(value)
            case "percent":
                return written.percent(value)
            case "decimal":
                return written.decimal(value, self.digits)
            case _:
                return written.significant(value, self.digits)

    @property
    def spec(self) -> str:
        """Name the same in Python's format language, for who reads `metrics.json` without this program."""
        return {"count": ",.0f", "percent": ".1%", "decimal": f",.{self.digits}f"}.get(self.kind, f",.{self.digits}g")


COUNT, PERCENT, DECIMAL, SIGNIFICANT = Form("count"), Form("percent"), Form("decimal"), Form("significant")
TWO_PLACES = Form("decimal", 2)


class Metric(NamedTuple):
    """One metric of a kind of record; `formula` is a section of docs/guide/analyze.md and a paragraph there."""

    of: type[Record]
    path: str
    title: str
    form: Form
    formula: tuple[str, str]
    better: Literal["higher", "lower", "neither"] = "neither"
    unit: str = ""

    def value(self, record: Mapping[str, Any]) -> Any:
        """Return the value; None where it was not measured."""
        return measured(record, self.path)

    def text(self, record: Mapping[str, Any]) -> str:
        """Write the value as its form says."""
        return self.form.write(self.value(record))


def metric(
    of: type[Record],
    path: str,
    title: str,
    form: Form,
    formula: tuple[str, str],
    better: Literal["higher", "lower", "neither"] = "neither",
    unit: str = "",
) -> Metric:
    """Declare a metric; raises `UndeclaredKey` where its record has no such path."""
    require(of, path)
    return Metric(of, path, title, form, formula, better, unit)


def titles(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """List the heads of a table's columns."""
    return tuple(one.title for one in metrics)


def texts(record: Mapping[str, Any], metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Write the cells of a table's row."""
    return tuple(one.text(record) for one in metrics)
