"""Novelty stands beside its control, and agreement beside what independent latents give."""

from typing import Any

import pytest

from analyze.format import NOT_MEASURED
from analyze.ladders import pairs_by_ladder
from analyze.report.sections.pairs import pair_tables
from tests.analyze.sample import RESIDUAL, TOPK, sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.typed import typed


def cells_of(stitching: dict[str, Any]) -> list[tuple[str, str]]:
    metrics = with_relations(sample_metrics(sizes=(16, 32), architectures=(TOPK,), hooks=(RESIDUAL,)))
    metrics["pairs"][0]["stitching"] = stitching
    (table,) = (t for t in pair_tables(pairs_by_ladder(typed(metrics))) if t.title == "Behaviour on the same rows")
    row = next(iter(table.groups.values()))[0]
    return list(zip(table.columns, row, strict=True))


@pytest.mark.parametrize(
    ("stitching", "shown"),
    [
        ({"novel": 0.4, "novel_to_itself": 0.01, "auc": 0.8}, ["40.0%", "1.0%", "0.800"]),
        ({"novel": None, "novel_to_itself": 0.94, "auc": None}, [NOT_MEASURED, "94.0%", NOT_MEASURED]),
    ],
)
def test_novelty_stands_beside_that_to_itself_and_is_a_dash_where_that_is_high(stitching, shown):
    cells = cells_of(stitching)
    place = [name for name, _ in cells].index("novel")
    assert [name for name, _ in cells[place : place + 2]] == ["novel", "novel to itself"]
    assert [cell for _, cell in cells[place : place + 3]] == shown


def test_agreement_stands_beside_that_of_independent_latents():
    cells = cells_of({"novel": None, "novel_to_itself": None, "auc": None})
    place = [name for name, _ in cells].index("Jaccard")
    assert cells[place : place + 6] == [
        *(("Jaccard", "0.400"), ("chance", "0.050")),
        *(("cosine where target fires", "0.700"), ("chance", "0.200")),
        *(("where source fires", "0.500"), ("chance", "0.150")),
    ]
