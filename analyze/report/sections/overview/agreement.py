"""How similar each size is to the next larger one: the scores of every step, averaged over seeds, and in words."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from analyze.ladders import Pair, ladder_of, pairs_of
from analyze.report.sections.mmcs import ceiling_of
from analyze.schema.record import measured

SCORES = ("mmcs", "mmcs_null", "mmcs_corrected")
AS_MUCH = 0.9  # of the ceiling: as similar as can be expected
VERY, MODERATELY = 0.7, 0.3  # corrected MMCS from which sizes are called very, or moderately, similar


class Step(NamedTuple):
    """The mean scores of one size looked up in the next larger, over seeds; `ceiling` is None without a second seed."""

    hook: str
    kind: str
    source: int
    target: int
    mmcs: float
    chance: float
    corrected: float
    ceiling: float | None


def steps_of(metrics: Mapping[str, Any]) -> list[Step]:
    """Return every step to a larger size within one kind of dictionary, in the order of the comparisons."""
    found: dict[tuple[str, str, int, int], list[Pair]] = {}
    for pair in pairs_of(metrics):
        ladder, ends = ladder_of(pair.source), (pair.source["n_latents"], pair.target["n_latents"])
        known = all(measured(pair.scores, key) is not None for key in SCORES)
        if known and ladder == ladder_of(pair.target) and ends[0] < ends[1]:
            found.setdefault((ladder.hook, ladder.kind, *ends), []).append(pair)
    return [_step(metrics, key, pairs) for key, pairs in found.items()]


def _step(metrics: Mapping[str, Any], key: tuple[str, str, int, int], pairs: Sequence[Pair]) -> Step:
    mmcs, chance, corrected = (fmean(pair.scores[name] for pair in pairs) for name in SCORES)
    ceilings = [c for pair in pairs if (c := ceiling_of(metrics, pair.scores["from"])) is not None]
    return Step(*key, mmcs, chance, corrected, fmean(ceilings) if ceilings else None)


def similarity(corrected: float) -> str:
    """Say in words how similar latents of this corrected MMCS are."""
    if corrected <= 0:
        return "no more similar than chance"
    return f"{'very' if corrected >= VERY else 'moderately' if corrected >= MODERATELY else 'weakly'} similar"


def reaches_ceiling(step: Step) -> bool:
    return step.ceiling is not None and step.corrected >= AS_MUCH * step.ceiling
