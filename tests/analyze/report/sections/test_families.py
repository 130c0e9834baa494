"""What the relations between sizes rest on is in a table, in a chart, and in the chart's CSV."""

from analyze.report.draw.csv import to_csv
from analyze.report.sections.families import family_charts, family_tables
from tests.analyze.sample import RESIDUAL, TOPK, sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.typed import typed


def metrics():
    return typed(with_relations(sample_metrics(sizes=(16, 32), architectures=(TOPK,), hooks=(RESIDUAL,))))


def test_edges_are_counted_by_what_they_rest_on():
    found = metrics()["families"][0]
    table = family_tables(metrics())[0]
    (row,) = next(iter(table.groups.values()))
    cells = dict(zip(table.columns, row, strict=True))
    assert cells["edges"] == str(len(found["edges"])) == "24"
    assert cells["mutual"] == "14"
    names = ("by cosine alone", "by masked cosine alone", "by both")
    assert [cells[name] for name in names] == ["0", "10", "14"]


def test_the_csv_of_the_chart_has_the_shares_of_edges_and_their_number():
    (chart,) = (chart for chart in family_charts(metrics()) if chart.family == "edges")
    place = ",from → to (latents),16 → 32,,edges (%),"
    assert [line.split(",", 1)[1] for line in to_csv(chart).splitlines()[1:]] == [
        f"by cosine alone{place}0.0,,,0 of 24",
        f"by both{place}{100 * 14 / 24},,,14 of 24",
        f"by masked cosine alone{place}{100 * 10 / 24},,,10 of 24",
        f"mutual{place}{100 * 14 / 24},,,14 of 24",
    ]


def test_without_families_there_is_no_table():
    assert family_tables(metrics().but(families=None)) == []
