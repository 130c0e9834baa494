"""Sizes: how much dictionaries of neighbouring sizes share, always beside what chance would give."""

from collections.abc import Mapping
from typing import Any

from analyze.ladders import pairs_by_ladder
from analyze.report.section import Section
from analyze.report.sections.choosing import choosing_charts
from analyze.report.sections.cosines import cosine_charts
from analyze.report.sections.diagnosis import diagnosis_charts, diagnosis_tables
from analyze.report.sections.families import family_charts, family_tables
from analyze.report.sections.mmcs import mmcs_charts
from analyze.report.sections.pairs import comparisons_table, pair_tables


def sizes_section(metrics: Mapping[str, Any]) -> Section:
    groups = pairs_by_ladder(metrics)
    if not groups:
        return Section(name="sizes", title="Sizes")
    return Section(
        name="sizes",
        title="Sizes",
        paragraphs=[
            "For every alive latent of one dictionary, take the cosine with the most similar decoder direction of the "
            "other; MMCS is the mean of these maximal cosines. It has a direction: A → B asks whether B contains what "
            "A found. Random vectors reach a sizeable MMCS too, a larger one the larger B is and the more unevenly A's "
            "directions fill the dimensions, so each score stands beside its chance level: that of random vectors "
            "with the second moment of A's own directions. Corrected MMCS is (MMCS − chance) / (1 − chance): 0 at "
            "chance, 1 for equal directions.",
        ],
        charts=[
            *mmcs_charts(metrics, groups),
            *family_charts(metrics),
            *cosine_charts(groups),
            *diagnosis_charts(groups),
            *choosing_charts(metrics),
        ],
        tables=[comparisons_table(metrics, groups)],
        more_tables=[*pair_tables(groups), *diagnosis_tables(groups), *family_tables(metrics)],
    )
