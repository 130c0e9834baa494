"""How numbers are written, those far too large for a column too."""

import pytest

from analyze.format import decimal, percent, significant


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0.1234567, "0.123"), (1234.5, "1,234.500"), (2.319e39, "2.32e+39"), (-1e300, "-1e+300")],
)
def test_decimals(value: float | None, written: str):
    assert decimal(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(None, "–"), (0.012345, "0.0123"), (123456, "123,456"), (1e20, "1e+20")]
)
def test_significant_digits(value: float | None, written: str):
    assert significant(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0.0, "0.0%"), (1e-4, "<0.1%"), (0.876, "87.6%"), (-12.0, "-1200.0%"), (1e38, "1e+40%")],
)
def test_shares(value: float | None, written: str):
    assert percent(value) == written
