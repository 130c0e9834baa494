"""A chart shows the same numbers on the page, in a paper and in a spreadsheet."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from analyze.report.draw.chart import PALETTE, REFERENCE_COLOUR, Axis, Chart, HeatMap, Panel, Series
from analyze.report.draw.csv import to_csv
from analyze.report.draw.interactive import plotly_figure
from analyze.report.draw.paper.figure import paper_figure, save_paper

BINS = Series(name="found <b>", x=[0.0, 0.5, 1.0], y=[3.0, 1.0], mark="bins")
LINE = Series(name="law", x=[1.0, 2.0, 3.0], y=[0.1, None, 0.3], reference=True, notes=["a", "b", "c"])
CHART = Chart(
    name="chart",
    title="A chart",
    how_to_read="Read it.",
    panels=(
        Panel(title="one", x=Axis(title="x (m)"), y=Axis(title="y", from_zero=True), series=(BINS, LINE)),
        Panel(title="two", x=Axis(title="x (m)", log=True, range=(1, 100)), y=Axis(title="y"), series=(LINE,)),
    ),
)
HEAT = Chart(
    name="heat",
    title="A heat map",
    how_to_read="Read it.",
    panels=(
        HeatMap(
            title="map",
            x="to",
            y="from",
            columns=("a", "b"),
            rows=("c", "d"),
            values=((0.1, None), (0.9, 0.5)),
            notes=(("0.1\n(x)", ""), ("0.9", "0.5")),
            range=(0, 1),
        ),
    ),
)


def rows_of(chart: Chart) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(chart))))


def test_csv_holds_every_value_with_its_axis_and_leaves_gaps_empty() -> None:
    rows = rows_of(CHART)
    assert len(rows) == 2 + 3 + 3
    assert rows[0] == {
        **{"panel": "one", "series": "found <b>", "x_axis": "x (m)", "x": "0.0", "x_end": "0.5"},
        **{"y_axis": "y", "y": "3.0", "y_low": "", "y_high": "", "note": ""},
    }
    assert [(row["x"], row["y"], row["note"]) for row in rows[2:5]] == [
        ("1.0", "0.1", "a"),
        ("2.0", "", "b"),
        ("3.0", "0.3", "c"),
    ]


def test_csv_of_a_heat_map_names_row_and_column_of_every_cell() -> None:
    assert [(r["row"], r["column"], r["value"], r["note"]) for r in rows_of(HEAT)] == [
        ("c", "a", "0.1", "0.1 (x)"),
        ("c", "b", "", ""),
        ("d", "a", "0.9", "0.9"),
        ("d", "b", "0.5", "0.5"),
    ]


def test_page_draws_the_same_values_and_escapes_names() -> None:
    first, second = (plotly_figure(panel, CHART.colours()) for panel in CHART.panels if isinstance(panel, Panel))
    bins, line = first["data"]
    assert list(bins["x"]) == [0.0, 0.5, 1.0]
    assert list(bins["y"]) == [3.0, 1.0, 1.0]  # the last edge repeats the last bin's height
    assert bins["name"] == "found &lt;b&gt;"
    assert list(line["y"]) == [0.1, None, 0.3]
    assert line["line"]["color"] == REFERENCE_COLOUR
    assert line["line"]["dash"] == "dash"
    assert list(second["layout"]["xaxis"]["range"]) == [0, 2]  # plotly's range of a log axis is in powers of ten
    assert first["layout"]["yaxis"]["rangemode"] == "tozero"


def test_paper_draws_the_same_values_without_a_title() -> None:
    with paper_figure(CHART) as figure:
        one, two = figure.axes
        np.testing.assert_array_equal(one.lines[0].get_ydata(), [0.1, np.nan, 0.3])
        outline, area = one.patches
        assert isinstance(outline, StepPatch)
        assert list(outline.get_data()[0]) == [3.0, 1.0]
        assert area.get_fill()
        assert two.get_xlim() == pytest.approx((1, 100))
        assert figure.get_suptitle() == ""
        assert [text.get_text() for text in figure.texts] == ["one", "two"]
    with paper_figure(HEAT) as figure:
        assert [text.get_text() for text in figure.axes[0].texts] == ["0.1\n(x)", "0.9", "0.5"]


def test_a_range_is_shaded_behind_the_series_on_the_page_and_in_the_paper() -> None:
    x, y = Axis(title="x", log=True), Axis(title="y")
    panel = Panel(title="one", x=x, y=y, series=(Series(name="a", x=[0.5, 2], y=[1, 2]),), shaded=(0.8, 1.25))
    (shape,) = plotly_figure(panel, {"a": "#000000"})["layout"]["shapes"]
    assert (shape["x0"], shape["x1"], shape["layer"]) == (0.8, 1.25, "below")
    with paper_figure(Chart(name="c", title="c", how_to_read=".", panels=(panel,))) as figure:
        (band,) = figure.axes[0].patches
        assert band.get_extents().transformed(figure.axes[0].transData.inverted()).intervalx == pytest.approx(
            (0.8, 1.25)
        )


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.11, 0.16], ["0.12", "0.14", "0.16"]),
        ([1.0, 100.0], ["1", "2", "5", "10", "20", "50", "100"]),
        ([1e4, 1e6], ["10k", "20k", "50k", "100k", "200k", "500k", "1M"]),
        ([1e-6, 1e-2], ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²"]),
    ],
)
def test_logarithmic_axis_of_a_paper_is_labelled_in_plain_numbers(values: list[float], labels: list[str]) -> None:
    series = Series(name="s", x=[1.0, 2.0], y=values)
    panel = Panel(title="", x=Axis(title="x"), y=Axis(title="y", log=True), series=(series,))
    with paper_figure(Chart(name="n", title="t", how_to_read="r", panels=(panel,))) as figure:
        low, high = figure.axes[0].get_ylim()
        axis = figure.axes[0].yaxis
        shown = [
            label.get_text()
            for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
            if low <= place <= high
        ]
    assert shown == labels


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_paper_figure_is_the_same_bytes_every_time(tmp_path: Path, kind: str) -> None:
    for name in ("first", "second"):
        with paper_figure(CHART) as figure:
            save_paper(figure, tmp_path / name, kind)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_one_name_has_one_colour_in_all_panels_and_neighbours_differ() -> None:
    panels = tuple(
        Panel(title="", x=Axis(title="x"), y=Axis(title="y"), series=tuple(Series(name=n, x=[1], y=[1]) for n in names))
        for names in (["a", "b"], ["b", "c"])
    )
    chart = Chart(name="n", title="t", how_to_read="r", panels=panels)
    assert chart.colours() == {"a": PALETTE[0], "b": PALETTE[1], "c": PALETTE[2]}
    assert [series.name for series in chart.legend()] == ["a", "b", "c"]


def test_legend_is_left_out_where_there_is_one_series_only() -> None:
    panel = Panel(title="", x=Axis(title="x"), y=Axis(title="y"), series=(BINS,))
    assert Chart(name="n", title="t", how_to_read="r", panels=(panel,)).legend() == []


def test_series_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(AssertionError, match="found: 2 x values for 2 y values"):
        Series(name="found", x=[0.0, 1.0], y=[1.0, 2.0], mark="bins")
