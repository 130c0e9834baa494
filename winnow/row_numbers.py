"""Which rows are meant by a span, a slice or an index array, checked against how many there are.

Numbers count as in numpy: negative ones from the end, slices cut to what exists, masks one entry a row. A number that
does not exist is an IndexError, as it is in Python; what cannot be a row number is a `UserError`.
"""

import operator
from typing import Any

import numpy as np
from torch import Tensor

from winnow.errors import UserError

INTEGERS = "an integer, a slice, an array of integers or a mask"


def check_span(where: Any, start: Any, stop: Any, rows: int) -> tuple[int, int]:
    """Return rows [start, stop) as integers. Raises IndexError where they do not lie within `rows`, before any read."""
    start, stop = integer(where, "start", start), integer(where, "stop", stop)
    if not 0 <= start <= stop <= rows:
        raise IndexError(
            f"{where}: rows {_short(start)} to {_short(stop)} of {rows}: expected 0 <= start <= stop <= {rows}"
        )
    return start, stop


def check_runs(where: Any, starts: Any, counts: Any, total: int, rows: int) -> None:
    """Check runs of rows, `counts[i]` from `starts[i]` on, which have `total` rows.

    Raises `UserError` where they are no arrays of integers or have another total, IndexError where they leave `rows`.
    """
    for name, column in (("starts", starts), ("counts", counts)):
        if not isinstance(column, np.ndarray) or column.dtype.kind != "i" or column.shape != (len(starts),):
            raise UserError(f"{where}: {name}: expected an array of integers, one a run, found {_found(column)}")
    if counts.sum() != total:
        raise UserError(f"{where}: out: expected {counts.sum()} rows, as the runs have, found {total}")
    outside = (starts < 0) | (counts < 0) | (starts > rows - counts)
    if outside.any():
        run = int(outside.argmax())
        raise IndexError(f"{where}: {counts[run]} rows from row {starts[run]} on: expected rows of {rows}")


def integer(where: Any, name: str, value: Any) -> int:
    """Return an integer, also one of numpy's or torch's. Raises `UserError` for anything else, bools too."""
    if type(value) is int:
        return value
    try:
        if isinstance(value, bool | np.bool) or getattr(value, "ndim", 0):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UserError(f"{where}: {name}: expected an integer, found {_found(value)}") from None


def row_numbers(where: Any, key: Any, rows: int) -> slice | np.ndarray:
    """Return the rows that an index stands for: a slice with ends in [0, rows], or int64 numbers in [0, rows).

    The numbers have the shape of the index, so an integer gives a number without dimensions. Raises IndexError for a
    row that does not exist, and `UserError` for what is no index of rows.
    """
    if key is Ellipsis:
        key = slice(None)
    if isinstance(key, slice):
        return _slice(where, key, rows)
    if isinstance(key, Tensor):
        key = key.detach().cpu().numpy()
    elif not isinstance(key, list | range | np.ndarray):
        if isinstance(key, tuple | str | float | dict | set | None):
            raise UserError(f"{where}: expected {INTEGERS}, found {_found(key)}")
        key = integer(where, "row", key)
    if isinstance(key, int) and abs(key) > rows:
        raise _missing(where, key, rows)
    try:
        found = np.asarray(key)
    except ValueError:  # rows of a list that are not of one length
        raise UserError(f"{where}: expected {INTEGERS}, found {_found(key)}") from None
    if not found.size and found.dtype == np.float64:  # an empty list
        found = found.astype(np.int64)
    if found.dtype == np.bool:
        if found.shape != (rows,):
            raise UserError(f"{where}: expected a mask of {rows} rows, found one of shape {list(found.shape)}")
        return np.flatnonzero(found)
    if found.dtype.kind not in "iu":
        raise UserError(f"{where}: expected {INTEGERS}, found {found.dtype} {list(found.shape)}")
    outside = (found >= rows) | (found < -rows)
    if outside.any():
        raise _missing(where, found[outside].flat[0], rows)
    found = found.astype(np.int64)
    return np.where(found < 0, found + rows, found)


def _slice(where: Any, key: slice, rows: int) -> slice:
    try:
        start, stop, step = key.indices(rows)
    except (TypeError, ValueError):
        raise UserError(f"{where}: expected a slice of integers, its step not zero, found {_found(key)}") from None
    if step < 0:  # read forwards and turn round: the caller asks for the step
        return slice(start, stop, step)
    return slice(start, max(start, stop), step)


def _missing(where: Any, row: Any, rows: int) -> IndexError:
    return IndexError(f"{where}: row {_short(int(row))} of {rows}: expected one from {-rows} to {rows - 1}")


def _short(number: int) -> str:
    """Give a number for a message; Python refuses to print very long ones."""
    return (
        str(number) if abs(number) < 10**20 else f"{'-' if number < 0 else ''}2**{abs(number).bit_length() - 1} or more"
    )


def _found(key: Any) -> str:
    return f"{type(key).__name__} {' '.join(repr(key).split()):.60}"
