"""docs/reference/metrics.md says what the schema says, and links to what is there."""

import re

from analyze.compare.latent_table import PairFeatures
from analyze.groups.seeds import QUANTITIES
from analyze.schema.metrics import LATENTS_OF_PAIR, METRICS, ON_THE_CARD, OVER_SEEDS, shown
from analyze.schema.reference import PAGE, SECTIONS, anchor, reference
from tests.experiments import ROOT
from winnow.runtime.to_json import to_json


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text() == reference(), "run python -m analyze.schema"


def test_every_formula_stands_where_the_page_says() -> None:
    for section, paragraph in {one.formula for one in METRICS}:
        page, heading = SECTIONS[section]
        text = (ROOT / PAGE.parent / page).resolve().read_text()
        place = text.index(f"## {heading}\n")
        within = text[place : text.find("\n## ", place + 1)]
        assert paragraph in within.replace("\n", " "), (section, paragraph)


def test_anchors_are_those_of_the_hub() -> None:
    assert anchor("`pairs`: neighbouring sizes, both ways") == "pairs-neighbouring-sizes-both-ways"


def test_every_metric_is_declared_once_and_every_constant_is_on_the_page() -> None:
    keys = [(one.of, one.path) for one in METRICS]
    assert len(keys) == len(set(keys)) > 80
    page = reference()
    assert all(re.search(rf"^\| `{re.escape(one.path)}` \| ", page, re.MULTILINE) for one in METRICS)


def test_the_columns_of_a_table_of_latents_are_those_that_are_measured() -> None:
    assert tuple(column.name for column in LATENTS_OF_PAIR) == PairFeatures._fields
    assert [one.path.removesuffix(".mean") for one in OVER_SEEDS] == list(QUANTITIES)


def test_the_metrics_of_the_card_describe_themselves() -> None:
    found = to_json(shown())
    for of, metrics in zip(("dictionaries", "pairs"), ON_THE_CARD, strict=True):
        assert [(one["key"], one["title"]) for one in found[of]] == [(one.path, one.title) for one in metrics]
        for one, metric in zip(found[of], metrics, strict=True):
            assert format(0.875, one["format"]) == metric.form.write(0.875)
