"""Shares of present, composed and absent latents stand beside those that random directions give."""

from analyze.ladders import pairs_by_ladder
from analyze.report.draw.chart import Panel
from analyze.report.draw.csv import to_csv
from analyze.report.sections.diagnosis import diagnosis_charts, diagnosis_tables
from tests.analyze.sample import RESIDUAL, TOPK, sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.typed import typed


def groups():
    return pairs_by_ladder(
        typed(with_relations(sample_metrics(sizes=(16, 32), architectures=(TOPK,), hooks=(RESIDUAL,))))
    )


def test_the_table_has_the_shares_of_random_directions_beside_the_found_ones():
    table = diagnosis_tables(groups())[0]
    row = next(iter(table.groups.values()))[0]
    assert len(row) == len(table.columns)
    cells = dict(zip(table.columns, row, strict=True))
    assert [cells[name] for name in ("present", "composed", "absent")] == ["50.0%", "20.0%", "30.0%"]
    assert [cells[f"{name}, random"] for name in ("present", "composed", "absent")] == ["0.0%", "10.0%", "90.0%"]


def test_what_chance_would_explain_is_marked_in_the_chart_and_its_csv():
    chart = diagnosis_charts(groups())[0]
    panel = chart.panels[0]
    assert isinstance(panel, Panel)
    assert {series.name: series.y[0] for series in panel.series} == {
        **{"present": 50, "composed": 20, "absent": 30},
        **{"present by chance": 0, "present or composed by chance": 10},
    }
    lines = to_csv(chart).splitlines()
    assert sum(",present by chance," in line for line in lines) == 2
    assert sum(",present or composed by chance," in line for line in lines) == 2
