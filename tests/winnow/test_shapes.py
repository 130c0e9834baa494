"""What users hand in is checked when they do, without any hook of the tests: by its shape, dtype and device."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from winnow.errors import UserError
from winnow.shapes import as_tensor, check_out, checks_shapes, take_rows

LIKE = torch.zeros(3)


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((2, 3)),
        np.ones((2, 3), np.float16),
        np.ones((2, 3), ">f4"),
        np.ones((3, 2), np.float32).T,
        np.ones((4, 3))[::-2],
        np.broadcast_to(np.ones(3), (2, 3)),
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(2, 3, dtype=torch.bfloat16),
    ],
    ids=str,
)
def test_arrays_and_tensors_of_any_float_become_rows(rows: Any) -> None:
    found = take_rows("x", rows, 3, LIKE)
    assert torch.equal(found, torch.ones(2, 3))
    assert found.dtype == LIKE.dtype


def test_rows_of_the_right_dtype_are_not_copied_and_arrays_are() -> None:
    rows, array = torch.ones(2, 3), np.ones((2, 3), np.float32)
    assert take_rows("x", rows, 3, LIKE) is rows
    as_tensor("x", array).zero_()
    assert array.all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (torch.ones(2, 4), r"expected \[..., 3\], found \[2, 4\]"),
        (torch.ones(2, 1), r"expected \[..., 3\], found \[2, 1\]"),  # torch would broadcast it
        (torch.ones(()), r"expected \[..., 3\], found \[\]"),
        (np.ones(4), r"expected \[..., 3\], found \[4\]"),
        (torch.ones(3, dtype=torch.int64), "expected floating-point numbers, found int64"),
        (np.ones(3, bool), "expected floating-point numbers, found numpy's bool"),
        (np.ones(3, complex), "expected floating-point numbers, found numpy's complex128"),
        ([1.0, 2.0, 3.0], "expected a tensor or a numpy array of floating-point numbers, found list"),
        (None, "expected a tensor or a numpy array of floating-point numbers, found NoneType"),
        (torch.ones(3, device="meta"), r"expected a tensor on cpu, found one on meta; move it with \.to\(\)"),
    ],
    ids=str,
)
def test_other_rows_are_refused_in_one_line(rows: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^x: {said}$"):
        take_rows("x", rows, 3, LIKE)


@checks_shapes
def act(
    K: Float[Tensor, "n n"], p: Float[Tensor, "*row n"], on: Bool[Tensor, " n"] | None = None, times: int = 1
) -> float:
    return times * (p @ K).sum().item()


def test_what_fits_its_annotations_passes() -> None:
    assert act(torch.ones(2, 2), torch.ones(3, 4, 2)) == 48
    assert act(torch.ones(2, 2), p=torch.ones(2).double().float(), on=torch.ones(2, dtype=torch.bool), times=2) == 8


@pytest.mark.parametrize(
    ("K", "p", "on", "found"),
    [
        (torch.ones(2, 3), torch.ones(4, 2), None, r"K float32 \[2, 3\], p float32 \[4, 2\]"),
        (torch.ones(2, 2), torch.ones(4, 1), None, r"K float32 \[2, 2\], p float32 \[4, 1\]"),
        (torch.ones(2, 2), torch.ones(()), None, r"K float32 \[2, 2\], p float32 \[\]"),
        (torch.ones(2, 2), np.ones((4, 2)), None, r"K float32 \[2, 2\], p numpy's float64 \[4, 2\]"),
        (torch.ones(2, 2), [[1.0, 2.0]], None, r"K float32 \[2, 2\], p list"),
        (torch.ones(2, 2), torch.ones(4, 2).long(), None, r"K float32 \[2, 2\], p int64 \[4, 2\]"),
        (torch.ones(2, 2), torch.ones(2), torch.ones(2), r".* on float32 \[2\]"),
        (torch.ones(2, 2), torch.ones(2), torch.ones(3).bool(), r".* on bool \[3\]"),
    ],
)
def test_what_does_not_is_refused_with_all_that_was_expected(K: Any, p: Any, on: Any, found: str) -> None:
    with pytest.raises(UserError, match=rf"^act: expected K Float \[n, n\], p Float \[\*row, n\].*, found {found}$"):
        act(K, p, on)


def test_a_name_stands_for_all_axes_that_it_stood_for_before() -> None:
    @checks_shapes
    def paired(a: Float[Tensor, "*row d"], b: Int64[Tensor, "*row"] | Float[Tensor, "*row e"]) -> None: ...

    paired(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.int64))
    paired(torch.ones(2, 3, 4), torch.ones(2, 3, 9))
    for shape, dtype in itertools.product([(3,), (3, 2), (2, 3, 1, 1)], [torch.int64, torch.float32]):
        with pytest.raises(UserError, match=r"b Float \[\*row, e\] or Int64 \[\*row\]"):
            paired(torch.ones(2, 3, 4), torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (torch.zeros(4, 10), r"expected \[row, 5\] on the CPU, found \[4, 10\] on cpu"),
        (torch.zeros(20), r"expected \[row, 5\] on the CPU, found \[20\]"),
        (torch.zeros(4, 5, device="meta"), r"expected \[row, 5\] on the CPU, found \[4, 5\] on meta"),
        (torch.zeros(4, 5, dtype=torch.int32), "expected floating-point numbers, found int32"),
        (np.zeros((4, 5)), r"expected a tensor \[row, 5\], found ndarray"),
        (torch.zeros(4, 5).to_sparse(), r"expected a tensor \[row, 5\], found a sparse one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_are_read_into_nothing_else_than_rows(out: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^store: out: {said}"):
        check_out("store", out, 5)
    check_out("store", torch.empty(5, 4).T, 5)


def test_runs_are_read_into_what_the_file_holds() -> None:
    check_out("store", torch.empty(4, 5).half(), 5, torch.float16)
    with pytest.raises(UserError, match=r"expected torch\.float16 as stored, contiguous, found torch\.float32$"):
        check_out("store", torch.empty(4, 5), 5, torch.float16)
    with pytest.raises(UserError, match=r"found torch\.float32, not contiguous"):
        check_out("store", torch.empty(5, 4).T, 5, torch.float32)
