"""The overview: what was run in one line, small charts and a verdict for each hook, and the caveats.

All of it fits the first screen; what takes longer to read opens behind it.
"""

from collections.abc import Mapping
from typing import Any

from analyze.format import count, listing, significant
from analyze.report.section import Overview, View
from analyze.report.sections.massive import massive_line, massive_notes
from analyze.report.sections.mmcs import ceiling_of
from analyze.report.sections.overview.caveats import caveats
from analyze.report.sections.overview.charts import overview_chart
from analyze.report.sections.overview.verdict import verdict
from analyze.report.sections.overview.words import quality_in_words, sizes_in_words
from analyze.schema.metrics import SHARED_16, SHARED_64
from analyze.schema.record import measured


def overview_section(metrics: Mapping[str, Any]) -> Overview:
    dictionaries = metrics.get("dictionaries") or []
    bounded = {d["hook"] for d in dictionaries if ceiling_of(metrics, d["path"]) is not None}
    hooks = sorted(dict.fromkeys(d["hook"] for d in dictionaries), key=lambda hook: hook not in bounded)
    views = [View(overview_chart(metrics, i, hook), verdict(metrics, hook)) for i, hook in enumerate(hooks)]
    return Overview(
        name="overview",
        title="Overview",
        line=_line(metrics),
        views=[view for view in views if view.chart.panels or view.verdict],
        caveats=[*massive_notes(metrics), *caveats(metrics)],
        facts=_facts(metrics),
        paragraphs=[*quality_in_words(metrics), *sizes_in_words(metrics)],
    )


def _line(metrics: Mapping[str, Any]) -> str:
    """Say in one line what was trained on what; "" where there is no dictionary."""
    dictionaries = metrics.get("dictionaries") or []
    if not dictionaries:
        return ""
    run, evaluation = metrics.get("run") or {}, metrics.get("evaluation") or {}
    hooks, sizes = {d["hook"] for d in dictionaries}, sorted({d["n_latents"] for d in dictionaries})
    architectures = listing(sorted({d["architecture"] for d in dictionaries}))
    of = run.get("model") or ("toy data" if run.get("toy") else None)
    rows = {measured(d, "rows") for d in dictionaries} - {None}
    parts = [
        massive_line(metrics),
        f"{count(len(dictionaries))} {'dictionary' if len(dictionaries) == 1 else 'dictionaries'}: {architectures} "
        f"with {listing(list(map(count, sizes)), 6)} latents",
        f"{count(len(hooks))} {'hook' if len(hooks) == 1 else 'hooks'}" + (f" of {of}" if of else ""),
        f"{_between(rows)} training rows" if rows else "",
        f"evaluated on {count(evaluation['rows'])} held-out rows" if evaluation.get("rows") else "",
    ]
    return " · ".join(filter(None, parts))


def _between(values: set[int]) -> str:
    return count(max(values)) if len(values) == 1 else f"{count(min(values))} to {count(max(values))}"


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    run, evaluation = metrics.get("run") or {}, metrics.get("evaluation") or {}
    dictionaries = metrics.get("dictionaries") or []
    sizes = sorted({d["n_latents"] for d in dictionaries})
    held_out = f"{count(evaluation.get('sequences'))} sequences, {count(evaluation.get('rows'))} rows"
    facts = [
        ("Run", run.get("path")),
        ("Model", run.get("model")),
        ("Text", run.get("text")),
        ("Toy data", run.get("toy") and _assumed(run["toy"])),
        ("Tokens", run.get("tokens") and f"{count(run['tokens'])} in sequences of {count(run.get('context'))}"),
        ("Harvested", run.get("rows") and f"{count(run['rows'])} rows"),
        ("Positions", run.get("positions")),
        ("Evaluated on", held_out if evaluation else None),
        ("Of that also harvested", _also_harvested(evaluation)),
        ("Dictionaries", dictionaries and f"{len(dictionaries)}, of {listing(list(map(count, sizes)), 6)} latents"),
        *(("Beside it", _beside(other)) for other in (metrics.get("runs") or [])[1:]),
    ]
    return [(term, str(value)) for term, value in facts if value]


def _also_harvested(evaluation: Mapping[str, Any]) -> str | None:
    if not evaluation or not evaluation["shared_ngrams"]:
        return None
    return f"{SHARED_16.text(evaluation)} of the 16-grams, {SHARED_64.text(evaluation)} of the 64-grams"


def _assumed(toy: Mapping[str, Any]) -> str:
    return (
        f"{count(toy['n_features'])} features ({toy['directions']}) in {count(toy['d_model'])} dimensions, "
        f"{significant(toy['active'])} active in a row"
    )


def _beside(other: Mapping[str, Any]) -> str:
    """Say of another run in the report whether its dictionaries are compared with this one's, and if not, why."""
    return f"{other['name']}: " + ("compared" if other["compared"] else f"not compared, {other['reason']}")
