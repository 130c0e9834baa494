"""A family tree keeps relatives together, and shows the same kinships on the page and in a spreadsheet."""

import csv
import io
from dataclasses import replace
from itertools import pairwise

import pytest

from analyze.report.draw.chart import Chart, FamilyTree, Kinship, Panel
from analyze.report.draw.csv import to_csv
from analyze.report.draw.paper.figure import paper_figure
from analyze.report.draw.tree import tree_data
from analyze.report.draw.tree_layout import families, place_families
from analyze.report.sections.families import family_charts
from tests.analyze.sample import TOPK, sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.typed import typed


def kin(parent: int, child: int, cosine: float | None = 0.8) -> Kinship:
    return Kinship(parent, child, cosine, 0.75)


# 0 splits into 0 and 1, of which 1 goes on as 5; 1 and 2 merge into 2; 3 is new in the middle and goes on
TREE = FamilyTree(
    title="tree",
    sizes=("4", "8", "16"),
    paths=("a", "b", "c"),
    kinships=((kin(0, 0), kin(0, 1), kin(1, 2), kin(2, 2)), (kin(1, 5), kin(3, 6, None))),
)
CHART = Chart(name="tree", title="A tree", how_to_read="Read it.", panels=(TREE,))


def test_families_are_what_any_number_of_steps_connects() -> None:
    assert families(TREE) == [
        {(0, 0), (1, 0), (1, 1), (2, 5)},
        {(0, 1), (0, 2), (1, 2)},
        {(1, 3), (2, 6)},
    ]
    assert families(replace(TREE, kinships=((), ()))) == []


def test_families_are_stacked_and_none_is_torn() -> None:
    places = place_families(TREE, 100)
    assert set(places) == set().union(*families(TREE))
    spans = [(min(places[f] for f in family), max(places[f] for f in family)) for family in families(TREE)]
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    assert len({(size, place) for (size, _), place in places.items()}) == len(places)  # nobody on top of another


def test_the_largest_families_are_drawn_where_all_are_too_many() -> None:
    assert set(place_families(TREE, 7)) == families(TREE)[0] | families(TREE)[1]
    assert set(place_families(TREE, 1)) == families(TREE)[0]  # one at least


def test_paper_draws_a_line_for_every_kinship() -> None:
    with paper_figure(CHART) as figure:
        (axes,) = figure.axes
        assert len(axes.collections[0].get_paths()) == 6
        assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "8", "16"]


def test_csv_names_every_kinship() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(CHART))))
    assert len(rows) == 6
    ends = {"from": "8", "parent": "3", "to": "16", "child": "6"}
    assert rows[-1] == {"panel": "tree", **ends, "cosine": "", "masked_cosine": "0.75"}


def test_page_gets_cosines_in_hundredths() -> None:
    data = tree_data(TREE)
    first, second = data["kinships"]
    assert first == [0, 0, 80, 75, 0, 1, 80, 75, 1, 2, 80, 75, 2, 2, 80, 75]
    assert second == [1, 5, 80, 75, 3, 6, None, 75]
    assert (data["sizes"], data["paths"]) == (["4", "8", "16"], ["a", "b", "c"])


def test_fates_are_shares_of_living_features_and_add_up() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32, 64), architectures=(TOPK,), hooks=("h",)))
    (chart,) = (chart for chart in family_charts(typed(metrics)) if chart.family == "fates")
    panels = [panel for panel in chart.panels if isinstance(panel, Panel)]
    assert len(panels) == 2
    for panel in panels:
        for i in range(2):
            assert sum(series.y[i] or 0 for series in panel.series) == pytest.approx(100)
            assert panel.x.categories == ("16 → 32", "32 → 64")
    assert {s.name: s.y[0] for s in panels[0].series} == {"persists": 25, "splits": 62.5, "vanished": 12.5}


def test_fates_of_a_size_without_a_living_feature_are_gaps() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32, 64), architectures=(TOPK,), hooks=("h",)))
    metrics["families"][0] |= dict.fromkeys(("persists", "splits", "vanished", "new", "merges")) | {"edges": []}
    (chart,) = (chart for chart in family_charts(typed(metrics)) if chart.family == "fates")
    for panel in chart.panels:
        assert isinstance(panel, Panel)
        assert [series.y[0] for series in panel.series] == [None] * 3
        assert sum(series.y[1] or 0 for series in panel.series) == pytest.approx(100)


def test_a_ladder_with_a_missing_step_has_no_tree() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32, 64, 128), architectures=(TOPK,), hooks=("h",)))
    assert [c.family for c in family_charts(typed(metrics))].count("family-tree") == 1
    del metrics["families"][1]
    assert [c.family for c in family_charts(typed(metrics))].count("family-tree") == 0
