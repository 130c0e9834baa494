"""Print the summary of a run: one table of dictionaries, one of neighbouring sizes, and where the report lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyze.ladders import (
    ACROSS,
    Ladder,
    Pair,
    ladder_of,
    ladders,
    pairs_by_ladder,
    with_telling_options,
    without_controls,
)
from analyze.report.sections.massive import massive_words
from analyze.report.sections.untrainable import untrainable_words
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import CHANCE, CORRECTED, DEAD, FVU, L0, LOSS_RECOVERED, MMCS, N_LATENTS
from analyze.schema.record import measured
from analyze.schema.report import Metrics

DICTIONARY, PAIR = (N_LATENTS, L0, FVU, LOSS_RECOVERED, DEAD), (MMCS, CHANCE, CORRECTED)


def print_summary(metrics: Metrics, report: Path) -> None:
    """Print the tables to standard output, the report's path as the last line."""
    console, metrics = Console(), with_telling_options(without_controls(metrics))
    for line in untrainable_words(metrics.get("activations") or []):
        console.print(Text(line))
    for hook in metrics.get("activations") or []:
        if measured(hook, "massive"):
            console.print(Text(f"{hook['hook']}: {massive_words(hook)}"))
    if metrics.get("dictionaries"):
        console.print(_dictionaries(metrics))
    groups = pairs_by_ladder(metrics)
    if groups:
        console.print(_pairs(groups, metrics))
    console.print(Text(str(report)), soft_wrap=True)


def _dictionaries(metrics: Mapping[str, Any]) -> Table:
    table = _table("Dictionaries", ["hook\narchitecture"], [one.title.replace(" ", "\n") for one in DICTIONARY])
    for ladder, dictionaries in ladders(metrics).items():
        for i, d in enumerate(dictionaries):
            table.add_row(
                _named(i, len(dictionaries), ladder.hook, _settings(ladder, metrics)),
                *texts(d, DICTIONARY),
                end_section=i + 1 == len(dictionaries),
            )
    return table


def _pairs(groups: Mapping[str, Sequence[Pair]], metrics: Mapping[str, Any]) -> Table:
    table = _table(
        "Similarity of neighbouring sizes (MMCS), with chance",
        ["hook\narchitecture", "latents"],
        [*titles(PAIR)],
    )
    for label, pairs in groups.items():
        ladder = ladder_of(pairs[0].source)
        for i, pair in enumerate(pairs):
            table.add_row(
                _named(i, len(pairs), *((label,) if label == ACROSS else (ladder.hook, _settings(ladder, metrics)))),
                Text(pair.label),
                *texts(pair.scores, PAIR),
                end_section=i + 1 == len(pairs),
            )
    return table


def _settings(ladder: Ladder, metrics: Mapping[str, Any]) -> str:
    """Name a ladder's settings, the seed only where there are several: a terminal is narrow."""
    one_seed = len({other.seed for other in ladders(metrics)}) == 1
    return ladder.settings.removesuffix(f" · seed {ladder.seed}") if one_seed else ladder.settings


def _named(row: int, rows: int, *names: str) -> Text:
    """Spread a group's names over its rows, one each, so that they need one column; the last row takes what is left."""
    return Text("\n".join(names[row:] if row + 1 == rows else names[row : row + 1]))


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table
