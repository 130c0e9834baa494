"""Write the report of a run: a page that opens from disk without a network, and every figure as files.

    index.html             everything the page needs is inside it
    figures/NAME.svg .pdf  fit for a paper
    figures/NAME.csv       the same numbers

It is a pure function of the metrics, the content of `metrics.json`, and of the results of the stage polytopes where
there are any: the same ones give the same bytes.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from analyze.ladders import with_telling_options, without_controls
from analyze.polytopes import NO_POLYTOPES, Polytopes
from analyze.report.draw.chart import REFERENCE_COLOUR, Chart, FamilyTree, Panel, Series
from analyze.report.draw.files import FORMATS, write_figures
from analyze.report.draw.interactive import glyph_of, plotly_figure
from analyze.report.draw.small import small_figure
from analyze.report.draw.tree import tree_data
from analyze.report.section import Part, Section
from analyze.report.sections.activations import activations_section
from analyze.report.sections.controls import control_tables
from analyze.report.sections.overview import overview_section
from analyze.report.sections.polytopes.section import polytopes_section
from analyze.report.sections.quality import quality_section
from analyze.report.sections.seeds import seeds_section
from analyze.report.sections.sizes import sizes_section
from analyze.report.sections.training import training_section
from analyze.report.sections.truth import truth_section
from analyze.schema.report import Metrics
from winnow.runtime.publish import publish_text

TEMPLATES = Path(__file__).with_name("templates")
PLOTLY = resources.files("plotly") / "package_data" / "plotly.min.js"
TREE_HEIGHT = 420  # pixels
SIDE_BY_SIDE = 4  # panels of one family that are shown at once; more are chosen from a list


def write_report(metrics: Metrics, folder: Path, polytopes: Polytopes = NO_POLYTOPES) -> Path:
    """Write `index.html` and `figures/` into `folder`, and return the page's path.

    Every file appears complete or not at all, the page last; figures of an earlier report that this one does
    not have are removed.
    """
    sections = report_sections(metrics, polytopes)
    figures = folder / "figures"
    charts = [chart for section in sections for chart in section.all_charts]
    write_figures(charts, figures)
    page = folder / "index.html"
    publish_text(page, render_page(metrics, sections, (folder / "features" / "index.html").exists()))
    current = {f"{chart.name}.{kind}" for chart in charts for kind in FORMATS}
    for file in figures.iterdir():
        if file.suffix.lstrip(".") in FORMATS and file.name not in current:
            file.unlink()
    return page


def report_sections(metrics: Metrics, polytopes: Polytopes = NO_POLYTOPES) -> list[Section]:
    """Make the sections of the report; what was not measured is left out."""
    everything, metrics = metrics, with_telling_options(without_controls(metrics))
    makers = (
        *(
            overview_section,
            truth_section,
            partial(quality_section, controls=control_tables(everything, metrics)),
            sizes_section,
            seeds_section,
        ),
        *(activations_section, training_section),
    )
    sections = [*(make(metrics) for make in makers), polytopes_section(polytopes)]
    return [section for section in sections if not section.is_empty]


def render_page(metrics: Mapping[str, Any], sections: list[Section], features: bool = False) -> str:
    """Render the page as one HTML text; every name in it is escaped. `features`: link to the feature pages."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["broken"] = _broken
    return environment.get_template("report.html").render(
        run=(metrics.get("run") or {}).get("path", "a run"),
        sections=sections,
        features=features,
        families_of=_families,
        formats=FORMATS,
        panels_of=_panels_of,
        small_panels_of=_small_panels_of,
        legend_of=_legend_of,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        tree_script=Markup((TEMPLATES / "tree.js").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(PLOTLY.read_text(encoding="utf-8")),
    )


def _families(section: Section | Part) -> list[tuple[list[Chart], bool]]:
    """Group the charts of a section into families, each with whether one is shown at a time."""
    families = [list(charts) for _, charts in groupby(section.charts, key=lambda c: c.family or c.name)]
    return [(charts, len(charts) > 1 and _needs_choice(charts)) for charts in families]


def _needs_choice(charts: list[Chart]) -> bool:
    tree = any(isinstance(panel, FamilyTree) for chart in charts for panel in chart.panels)
    return tree or sum(len(chart.panels) for chart in charts) > SIDE_BY_SIDE


class DrawnPanel(NamedTuple):
    """What the page needs of a panel: `data` is JSON for the script that draws it into an element of this class."""

    title: str
    kind: str
    height: int  # pixels, before it is drawn
    data: Markup


def _panels_of(chart: Chart) -> list[DrawnPanel]:
    colours = chart.colours()
    drawn = []
    for panel in chart.panels:
        if isinstance(panel, FamilyTree):
            drawn.append(DrawnPanel(panel.title, "tree", TREE_HEIGHT, _json(tree_data(panel))))
        else:
            figure = plotly_figure(panel, colours)
            drawn.append(DrawnPanel(panel.title, "plot", figure["layout"]["height"], _json(figure)))
    return drawn


def _small_panels_of(chart: Chart) -> list[DrawnPanel]:
    """Draw the panels of a chart of the first screen."""
    figures = [(p.title, small_figure(p, chart.colours())) for p in chart.panels if isinstance(p, Panel)]
    return [DrawnPanel(title, "plot", figure["layout"]["height"], _json(figure)) for title, figure in figures]


def _json(data: Mapping[str, Any]) -> Markup:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # inside a script element only "<" could end it


def _legend_of(chart: Chart) -> list[tuple[Series, str, str]]:
    """Return each named series with its colour and the character of its marks."""
    colours = chart.colours()
    return [(s, REFERENCE_COLOUR if s.reference else colours[s.name], glyph_of(s)) for s in chart.legend()]


def _broken(text: str) -> Markup:
    """Let a long dotted name break at its dots, and a number not at its point."""
    return Markup(re.sub(r"(?<=[A-Za-z_])\.|\.(?=[A-Za-z_])", ".<wbr>", str(escape(text))))
