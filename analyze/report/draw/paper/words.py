"""Estimate the size of text in a paper figure from the font's mean character widths, to leave enough room."""

from textwrap import wrap

from matplotlib.axes import Axes

LINE = 0.135  # inches: a line of 7 points
DIGIT, LETTER = 0.062, 0.0565  # inches: mean widths of characters of 7 points


def width_of(text: str) -> float:
    """Return the width of a text's longest line, in inches."""
    return max(sum(DIGIT if c.isdigit() or c in "⁰¹²³⁴⁵⁶⁷⁸⁹%" else LETTER for c in line) for line in text.split("\n"))


def lines_of(text: str, width: float) -> list[str]:
    """Break a text into lines of at most `width` inches; split a word only if it is longer than that."""
    return wrap(text, max(1, int(width / LETTER)))


def y_labels(ax: Axes) -> float:
    """Return the width of the longest label of the vertical axis's ticks, in inches."""
    low, high = sorted(ax.get_ylim())
    ticker = ax.yaxis
    places = [place for place in ticker.get_majorticklocs() if low <= place <= high]
    labels = ticker.get_major_formatter().format_ticks(places)
    return max(map(width_of, labels), default=0)
