"""How numbers are written in words and tables; a number that was not measured is a dash."""

from collections.abc import Sequence

Number = int | float
Values = Sequence[Number | None]

NOT_MEASURED = "–"
LARGE = 1e12  # from here on a number is written in scientific notation


def count(value: Number | None) -> str:
    """Write a whole number with its thousands apart."""
    return NOT_MEASURED if value is None else f"{value:,.0f}"


def decimal(value: Number | None, places: int = 3) -> str:
    """Write a number with so many decimals; one far too large for a column in scientific notation."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.{places}f}" if abs(value) < LARGE else f"{value:.{places}g}"


def significant(value: Number | None, digits: int = 3) -> str:
    """Write a number whose size is not known beforehand."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f}" if 10**digits <= abs(value) < LARGE else f"{value:,.{digits}g}"


def percent(value: Number | None) -> str:
    """Write a share as per cent; a share that is not quite nothing does not read as nothing."""
    if value is None:
        return NOT_MEASURED
    return "<0.1%" if 0 < value < 0.0005 else f"{100 * value:.1f}%" if abs(value) < LARGE else f"{100 * value:.3g}%"


def listing(names: Sequence[str], at_most: int = 3) -> str:
    """Write names as a list that stays short: `a, b, c and 4 more`."""
    if len(names) <= at_most + 1:
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
    return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
