"""The laws drawn over the values are those that were fitted."""

import math

import pytest

from analyze.report.draw.chart import Panel
from analyze.report.sections.laws import law_charts

EDGES = [-2.0, 0.0, 2.0]
FITS = {
    "normal": (0.5, 2.0),
    "laplace": (0.5, 2.0),
    "student_t": (1.0, 0.5, 2.0),  # one degree of freedom: Cauchy's law
    "generalised_normal": (2.0, 0.5, 2.0),  # exponent 2: a normal law of half the variance
}
DENSITIES = {  # of z = (x - 0.5) / 2, in closed form
    "normal": lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / 2,
    "Laplace": lambda z: math.exp(-abs(z)) / 4,
    "Student-t": lambda z: 1 / (math.pi * (1 + z * z)) / 2,
    "generalised normal": lambda z: math.exp(-z * z) / math.sqrt(math.pi) / 2,
}


def test_every_law_is_drawn_with_its_own_density() -> None:
    laws = {name: {"log_likelihood": -1.0, "parameters": list(fit)} for name, fit in FITS.items()}
    fits = {"best": "normal", "laws": laws, "histogram": {"edges": EDGES, "density": [0.2, 0.3]}}
    (chart,) = law_charts({"residual": [{"hook": "h", "fits": fits}]})
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    values, *drawn = panel.series
    assert values.y == [0.2, 0.3]
    assert [series.name.split(" (")[0] for series in drawn] == list(DENSITIES)
    for series, density in zip(drawn, DENSITIES.values(), strict=True):
        known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if x is not None and y is not None]
        assert len(known) > 150
        assert [y for _, y in known] == pytest.approx([density((x - 0.5) / 2) for x, _ in known], rel=1e-9)


def test_a_density_below_a_third_of_the_lowest_bar_is_not_drawn() -> None:
    laws = {"normal": {"log_likelihood": -1.0, "parameters": [0.0, 0.5]}}
    fits = {"best": "normal", "laws": laws, "histogram": {"edges": [-4.0, 0.0, 4.0], "density": [0.3, 0.0]}}
    (chart,) = law_charts({"residual": [{"hook": "h", "fits": fits}]})
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    drawn = [y for y in panel.series[1].y if y is not None]
    assert len(drawn) < len(panel.series[1].y)
    assert 0.1 <= min(drawn) < 0.15


def test_a_law_whose_likelihood_is_none_is_drawn_without_a_gain() -> None:
    laws = {name: {"log_likelihood": None, "parameters": list(fit)} for name, fit in FITS.items()}
    fits = {"best": "laplace", "laws": laws, "histogram": {"edges": EDGES, "density": [0.2, 0.3]}}
    (chart,) = law_charts({"residual": [{"hook": "h", "fits": fits}]})
    (panel,) = chart.panels
    assert isinstance(panel, Panel)
    assert [series.name for series in panel.series] == ["values", *DENSITIES]
