"""What was measured, as tables: winnow beside the best peer, and every trainer with its best rate."""

from collections.abc import Iterable, Iterator, Mapping

from bench.quality.matching import Matched, best_rate, match
from bench.quality.plan import ARCHITECTURES, TARGETS, TRAINERS, Cell
from bench.quality.rows import Quality
from bench.table import Row

OURS = "winnow"
TARGET = 1.01  # winnow's FVU over the lowest of a peer's, at most

Table = Mapping[tuple[str, str, int], Matched]  # by trainer, architecture and L0


def match_all(measured: Mapping[Cell, Quality]) -> Table:
    """Match every trainer, architecture and target; leave out what was not measured."""
    found = {}
    for (trainer, architecture), of_both in _apart(measured).items():
        for target in TARGETS:
            matched = match(target, of_both)
            if matched is not None:
                found[trainer, architecture, target] = matched
    return found


def other_seeds(measured: Mapping[Cell, Quality], seeds: Iterable[int]) -> list[Cell]:
    """List the cells of further seeds: at the rates that are best for the first one at some target."""
    found = []
    for of_both in _apart(measured).values():
        rates = {best_rate(target, of_both) for target in TARGETS}
        found += [cell._replace(seed=seed) for cell in of_both if cell.rate in rates for seed in seeds]
    return found


def _apart(measured: Mapping[Cell, Quality]) -> dict[tuple[str, str], dict[Cell, Quality]]:
    """Split by trainer and architecture."""
    found: dict[tuple[str, str], dict[Cell, Quality]] = {}
    for cell, quality in measured.items():
        found.setdefault((cell.trainer, cell.architecture), {})[cell] = quality
    return found


def against_best_peer(table: Table) -> Iterator[Row]:
    """Set winnow's FVU beside the lowest of a peer's, for every architecture and target where both are measured."""
    for architecture in ARCHITECTURES:
        for target in TARGETS:
            peers = [(table[key].fvu, key[0]) for key in _at(table, architecture, target) if key[0] != OURS]
            ours = table.get((OURS, architecture, target))
            if peers and ours is not None:
                lowest, peer = min(peers)
                what = f"{architecture}, L0 {target} : {peer}"
                yield Row(what, ours.fvu, lowest, "FVU", TARGET, less_is_better=True, decimals=4)


def as_markdown(table: Table) -> Iterator[str]:
    """Write a line for each architecture and target: every trainer's FVU, its spread over seeds, its best rate."""
    trainers = [trainer for trainer in TRAINERS if any(key[0] == trainer for key in table)]
    yield "| | L0 | " + " | ".join(trainers) + " |"
    yield "| --- | --- |" + " --- |" * len(trainers)
    for architecture in ARCHITECTURES:
        for target in TARGETS:
            at = [table.get((trainer, architecture, target)) for trainer in trainers]
            if any(at):
                lowest = min(matched.fvu for matched in at if matched)
                yield f"| {architecture} | {target} | " + " | ".join(_entry(m, lowest) for m in at) + " |"


def _entry(matched: Matched | None, lowest: float) -> str:
    if matched is None:
        return "–"
    fvu = f"{matched.fvu:.4f}"
    fvu = f"**{fvu}**" if matched.fvu == lowest else fvu
    spread = f" ± {matched.spread:.4f}" if matched.seeds > 1 else ""
    return f"{fvu}{spread}, {matched.rate:g}{' (edge)' * matched.at_edge}"


def _at(table: Table, architecture: str, target: int) -> Iterable[tuple[str, str, int]]:
    return [key for key in table if key[1:] == (architecture, target)]
