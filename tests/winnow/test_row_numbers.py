"""Rows are numbered as in numpy; what does not exist is an IndexError, what is no row number is named."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from winnow.errors import UserError
from winnow.row_numbers import check_runs, check_span, row_numbers

ROWS = 28

KEYS = [
    0,
    -1,
    np.int64(5),
    torch.tensor(5),
    slice(10, 20),
    slice(None),
    slice(-5, None),
    slice(20, 99),
    slice(20, 10),
    slice(None, None, 3),
    slice(20, None, -7),
    slice(None, None, -1),
    ...,
    [],
    [5, 3, 3, -28],
    range(3, 9, 2),
    np.array([27, 0], np.int16),
    np.array([27, 0], np.uint64),
    torch.tensor([[1, 2], [2, -1]]),
    np.arange(ROWS) % 3 == 0,
    torch.arange(ROWS) > 20,
    [True] * ROWS,
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_an_index_means_the_rows_that_numpy_means(key: Any) -> None:
    everything = np.arange(ROWS)
    wanted = key.numpy() if isinstance(key, torch.Tensor) else key
    found = row_numbers("store", key, ROWS)
    if isinstance(found, slice):
        assert 0 <= found.start <= ROWS
        found = np.arange(found.start, found.stop, found.step)
    empty = isinstance(key, list) and not key
    np.testing.assert_array_equal(found, everything[np.array([], int) if empty else wanted])


@pytest.mark.parametrize(
    ("key", "row"),
    [
        *((28, "28"), (-29, "-29"), ([3, 28], "28"), (np.array([[0], [-29]]), "-29"), (10**30, "2**99 or more")),
        *((torch.tensor([2**40]), str(2**40)), (np.array([2**64 - 1], np.uint64), str(2**64 - 1))),
    ],
    ids=str,
)
def test_a_row_that_does_not_exist_is_an_index_error(key: Any, row: str) -> None:
    with pytest.raises(IndexError, match=rf"^store: row {re.escape(row)} of 28: expected one from -28 to 27$"):
        row_numbers("store", key, ROWS)


def test_an_empty_store_has_no_row() -> None:
    with pytest.raises(IndexError, match="row 0 of 0"):
        row_numbers("store", 0, 0)
    assert row_numbers("store", slice(None), 0) == slice(0, 0, 1)
    found = row_numbers("store", [], 0)
    assert isinstance(found, np.ndarray)
    assert found.shape == (0,)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (1.5, "found float 1.5"),
        (True, "row: expected an integer, found bool True"),
        ("3", "found str '3'"),
        (None, "found NoneType None"),
        ((1, 2), r"found tuple \(1, 2\)"),
        ([1.0, 2.0], r"found float64 \[2\]"),
        ([[1], [1, 2]], r"found list \[\[1\], \[1, 2\]\]"),
        ([10**30], r"found object \[1\]"),
        (torch.tensor([1.0]), r"found float32 \[1\]"),
        ([True, False], r"expected a mask of 28 rows, found one of shape \[2\]"),
        (slice(0, 1.5), r"expected a slice of integers.* found slice slice\(0, 1.5, None\)"),
        (slice(0, 9, 0), "expected a slice of integers, its step not zero"),
        (object(), "row: expected an integer, found object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_row_number_is_named(key: Any, found: str) -> None:
    with pytest.raises(UserError, match=f"^store: .*{found}") as refused:
        row_numbers("store", key, ROWS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("start", "stop", "said"),
    [
        *((10, 5, "10 to 5"), (0, 10**12, f"0 to {10**12}"), (-1, 3, "-1 to 3"), (0, 29, "0 to 29")),
        *((29, 29, "29 to 29"), (0, 10**5000, "0 to 2**16609 or more")),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_a_span_that_does_not_exist_is_an_index_error(start: int, stop: int, said: str) -> None:
    with pytest.raises(IndexError, match=rf"^store: rows {re.escape(said)} of 28: expected 0 <= start <= stop <= 28$"):
        check_span("store", start, stop, ROWS)


@pytest.mark.parametrize("wrong", [1.0, "1", None, True, np.bool(True), [1], np.array([1]), torch.tensor(1.0)])
def test_the_ends_of_a_span_are_integers(wrong: Any) -> None:
    with pytest.raises(UserError, match="store: start: expected an integer, found"):
        check_span("store", wrong, 5, ROWS)
    with pytest.raises(UserError, match="store: stop: expected an integer, found"):
        check_span("store", 0, wrong, ROWS)
    assert check_span("store", np.int32(2), torch.tensor(5), ROWS) == (2, 5)


@pytest.mark.parametrize(
    ("starts", "counts", "total", "said"),
    [
        ([0, 26], [3, 3], 6, "3 rows from row 26 on: expected rows of 28"),
        ([-1], [2], 2, "2 rows from row -1 on"),
        ([0, 5], [3, -1], 2, "-1 rows from row 5 on"),
        ([2**62], [2**62], 2**62, "expected rows of 28"),
        ([0, 5], [3, 1], 5, "out: expected 4 rows, as the runs have, found 5"),
        ([0, 5], [3], 3, r"counts: expected an array of integers, one a run, found ndarray array\(\[3\]\)"),
        ([0.5], [3], 3, "starts: expected an array of integers"),
        ([[0]], [3], 3, "starts: expected an array of integers"),
    ],
)
def test_runs_of_rows_exist_and_fill_what_they_are_read_into(starts: list, counts: list, total: int, said: str) -> None:
    with pytest.raises((UserError, IndexError), match=said):
        check_runs("store", np.array(starts), np.array(counts), total, ROWS)
    check_runs("store", np.array([3, 0]), np.array([25, 1]), 26, ROWS)
