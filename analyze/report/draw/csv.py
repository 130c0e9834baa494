"""Write a chart's numbers as a table for a spreadsheet: one row per value, and an empty field for each gap."""

import csv
import io

from analyze.report.draw.chart import Chart, FamilyTree, HeatMap, Panel

PANEL = ("panel", "series", "x_axis", "x", "x_end", "y_axis", "y", "y_low", "y_high", "note")
HEAT_MAP = ("panel", "row", "column", "value", "note")
FAMILY_TREE = ("panel", "from", "parent", "to", "child", "cosine", "masked_cosine")

Rows = list[tuple[object, ...]]


def to_csv(chart: Chart) -> str:
    """Format the numbers of all panels of a chart, which have one type, under one header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, panel in enumerate(chart.panels):
        header, rows = _table(panel)
        if number == 0:
            writer.writerow(header)
        writer.writerows(rows)
    return text.getvalue()


def _table(panel: Panel | HeatMap | FamilyTree) -> tuple[tuple[str, ...], Rows]:
    match panel:
        case HeatMap():
            return HEAT_MAP, _cells(panel)
        case FamilyTree():
            return FAMILY_TREE, _kinships(panel)
        case Panel():
            return PANEL, _points(panel)


def _cells(heat: HeatMap) -> Rows:
    return [
        (heat.title, row, column, value, note.replace("\n", " "))
        for row, values, notes in zip(heat.rows, heat.values, heat.notes, strict=True)
        for column, value, note in zip(heat.columns, values, notes, strict=True)
    ]


def _kinships(tree: FamilyTree) -> Rows:
    return [
        (tree.title, tree.sizes[i], k.parent, tree.sizes[i + 1], k.child, k.cosine, k.masked)
        for i, kinships in enumerate(tree.kinships)
        for k in kinships
    ]


def _points(panel: Panel) -> Rows:
    rows: Rows = []
    for series in panel.series:
        n = len(series.y)
        ends = list(series.x[1:]) if series.mark == "bins" else [None] * n
        low, high = series.low or [None] * n, series.high or [None] * n
        for i, (x, y) in enumerate(zip(series.x[:n], series.y, strict=True)):
            place = panel.x.categories[int(x)] if panel.x.categories and x is not None else x
            note = series.notes[i] if series.notes else ""
            rows.append(
                (panel.title, series.name, panel.x.title, place, ends[i], panel.y.title, y, low[i], high[i], note)
            )
    return rows
