"""Controls beside what they are controls for: what a metric gives them it gives for nothing."""

from collections.abc import Mapping
from typing import Any

from analyze.format import count
from analyze.ladders import full_name
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import ALIVE, CHANCE, CORRECTED, DEAD, FVU, L0, LOSS_RECOVERED, MATCHED, MMCS, SHARED

QUALITY = (L0, FVU, LOSS_RECOVERED, DEAD, ALIVE)
SCORES = (MMCS, CHANCE, CORRECTED, MATCHED, SHARED)
WORDS = {
    "frozen_decoder": "frozen decoder",
    "frozen_encoder": "frozen encoder",
    "gaussian_rows": "on Gaussian rows",
}
Record = Mapping[str, Any]


def control_tables(everything: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Table]:
    """Make a table of quality and one of directions; none where no control was trained.

    everything: the metrics with the controls; metrics: without them, under the names that the report gives.
    """
    controls = {d["path"]: d for d in everything.get("dictionaries") or [] if d["control"] is not None}
    named = {d["path"]: d for d in metrics.get("dictionaries") or []}
    scores = [s for s in everything.get("controls") or [] if s["to"] in controls and s["from"] in named]
    if not scores:
        return []
    twins = {s["to"]: named[s["from"]] for s in reversed(scores) if _same_size(controls[s["to"]], named[s["from"]])}
    groups: dict[str, list[str]] = {}
    for path, twin in sorted(twins.items(), key=lambda item: (item[1]["path"], item[0])):
        groups.setdefault(twin["path"], []).append(path)
    pairs = {(p["from"], p["to"]): p for p in metrics.get("pairs") or []}
    return [
        Table(
            title="Controls",
            how_to_read=(
                "Trained like the first line of each group, but with decoder directions, or encoder directions, that "
                "stay at their random start, or on Gaussian rows with the activations' mean and covariance, which "
                "have no features. What a metric gives a control it gives for nothing: only what the trained one "
                "has beyond it says that features were found."
            ),
            columns=("", *titles(QUALITY)),
            groups={
                full_name(named[twin]): [
                    ("trained", *texts(named[twin], QUALITY)),
                    *((WORDS[controls[path]["control"]], *texts(controls[path], QUALITY)) for path in paths),
                ]
                for twin, paths in groups.items()
            },
        ),
        Table(
            title="Directions looked up in controls",
            how_to_read=(
                "How well a dictionary's latents are present in the trained one, where the two were compared, and in "
                "its controls. Scores in a control are what this dictionary and these data give for nothing."
            ),
            columns=("from → in", *titles(SCORES)),
            groups={
                full_name(named[twin]): [
                    row
                    for source in dict.fromkeys(s["from"] for s in scores if s["to"] in paths)
                    for row in _rows(source, twin, paths, named, scores, pairs)
                ]
                for twin, paths in groups.items()
            },
        ),
    ]


def _rows(
    source: str,
    twin: str,
    paths: list[str],
    named: Mapping[str, Record],
    scores: list[Record],
    pairs: Mapping[tuple[str, str], Record],
) -> list[tuple[str, ...]]:
    """List what one dictionary scores in the trained one, and in each of its controls."""
    size = count(named[source]["n_latents"])
    real = pairs.get((source, twin))
    return [
        *([(f"{size} → trained", *texts(real, SCORES))] if real is not None else []),
        *(
            (f"{size} → {WORDS[s['control']]}", *texts(s, SCORES))
            for s in scores
            if s["from"] == source and s["to"] in paths
        ),
    ]


def _same_size(control: Record, trained: Record) -> bool:
    return control["n_latents"] == trained["n_latents"]
