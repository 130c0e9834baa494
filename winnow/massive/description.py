"""What is said of a hook's massive rows, as a record and in words; read without torch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from winnow.fields import Fields


class Massive(NamedTuple):
    """The massive rows of one hook, by the names in training.json and `metrics.json`."""

    bound: float  # times the median norm
    median_norm: float
    largest_norm: float
    rows: int
    all_rows: int  # of the hook
    share_of_rows: float
    share_of_variance: float  # of the sum over rows of |x - mean|^2, with the mean of all rows
    positions: Sequence[Sequence[int]]  # (position, rows there), most frequent first; likewise
    tokens: Sequence[Sequence[int]]  # (token, rows); none for toy data
    dimensions: Sequence[Sequence[float]]  # (dimension, share of the massive rows' part of that sum), largest first

    def words(self, texts: Mapping[int, str] | None = None) -> str:
        """Say how many there are, what they do, and where they are found, in two sentences."""
        named = [
            f"position {_counts(self.positions)}",
            f"token {_counts([(_token(token, texts or {}), n) for token, n in self.tokens])}" if self.tokens else "",
            f"dimension {', '.join(f'{d} ({share:.0%})' for d, share in self.dimensions)}" if self.dimensions else "",
        ]
        are, make = ("is", "makes") if self.rows == 1 else ("are", "make")
        return (
            f"{self.rows:,} of {self.all_rows:,} rows {are} massive (norm above {self.bound:g} times the median "
            f"{_size(self.median_norm)}, up to {_size(self.largest_norm)}) and {make} up {self.share_of_variance:.1%} "
            f"of the variance. Most frequent: {'; '.join(filter(None, named))}."
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Massive":
        """Read what `to_json` gave, in training.json or among other keys of `metrics.json`."""
        return cls(**{name: record[name] for name in cls._fields})

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, pairs as lists."""
        return {name: [list(pair) for pair in v] if isinstance(v, list) else v for name, v in self._asdict().items()}


def check_massive(fields: Fields) -> None:
    """Check the types of what `Massive.to_json` gave. Raises `UserError` naming the field that does not fit."""
    for name in ("bound", "median_norm", "largest_norm", "share_of_rows", "share_of_variance"):
        fields.number(name)
    for name in ("rows", "all_rows"):
        fields.integer(name, 0)
    for name in ("positions", "tokens", "dimensions"):
        for pair in fields.list(name):
            if not isinstance(pair, list) or len(pair) != 2 or not all(type(one) in (int, float) for one in pair):
                raise fields.wrong(f"left_out.{name}", "pairs of numbers", pair)


def _size(norm: float) -> str:
    return f"{norm:,.0f}" if norm >= 100 else f"{norm:.3g}"


def _token(token: int, texts: Mapping[int, str]) -> str:
    return f"{token} {texts[token]!r}" if token in texts else str(token)


def _counts(pairs: Sequence[Sequence[Any]]) -> str:
    return ", ".join(f"{value} ({count:,})" for value, count in pairs)
