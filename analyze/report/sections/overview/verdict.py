"""The verdict on one hook in at most three sentences: how good, how similar across sizes, whether to believe it."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from analyze.format import count, listing, percent
from analyze.ladders import ladder_of
from analyze.report.sections.convergence import has_stalled
from analyze.report.sections.mmcs import ceiling_of
from analyze.report.sections.overview.agreement import Step, reaches_ceiling, similarity, steps_of
from analyze.report.sections.overview.words import best_by_hook, fvu_at_l0
from analyze.report.sections.training import still_learning
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]


def verdict(metrics: Mapping[str, Any], hook: str) -> list[str]:
    """Judge the dictionaries of a hook; what was not measured is not judged."""
    dictionaries = [d for d in metrics.get("dictionaries") or [] if d["hook"] == hook]
    return [*_how_good(metrics, hook), *_how_similar(metrics, hook, dictionaries), *_whether_done(dictionaries)]


def _how_good(metrics: Mapping[str, Any], hook: str) -> Iterator[str]:
    best = best_by_hook(metrics).get(hook)
    if best:
        one = min(best, key=lambda d: d["fvu"])
        recovered, true = measured(one, "ce.recovered"), measured(one, "truth.recovered")
        yield (
            f"Best {fvu_at_l0(one)}"
            + (f", {percent(recovered)} of the loss recovered" if recovered is not None else "")
            + (f", {percent(true)} of the true features found" if true is not None else "")
            + f": {ladder_of(one).kind}, {count(one['n_latents'])} latents."
        )


def _how_similar(metrics: Mapping[str, Any], hook: str, dictionaries: Sequence[Dictionary]) -> Iterator[str]:
    steps = [step for step in steps_of(metrics) if step.hook == hook]
    if steps:
        corrected = [step.corrected for step in steps]
        reached = ", like two seeds of one size" if all(map(reaches_ceiling, steps)) else ""
        yield (
            f"Neighbouring sizes are {similarity(fmean(corrected))}{reached}: corrected MMCS {_span(corrected)} "
            f"(chance 0{_ceiling(metrics, dictionaries, steps)})."
        )


def _ceiling(metrics: Mapping[str, Any], dictionaries: Sequence[Dictionary], steps: Sequence[Step]) -> str:
    """Say how similar two seeds of one size are, where only some sizes have them beside the scores of just those."""
    known = [c for d in dictionaries if (c := ceiling_of(metrics, d["path"])) is not None]
    if not known:
        return ", ceiling unknown"
    judged = [(step, step.ceiling) for step in steps if step.ceiling is not None]
    if not judged or len(judged) == len(steps):
        return f", ceiling {_span(known)}: same size, other seed"
    ends = listing([f"{step.kind}, {count(step.source)} → {count(step.target)}" for step, _ in judged], at_most=1)
    own = f"{_span([step.corrected for step, _ in judged])}, ceiling {_span([c for _, c in judged])}"
    return f"; {ends}: {own} from a second seed"


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _whether_done(dictionaries: Sequence[Dictionary]) -> Iterator[str]:
    falling, stalled = (sum(map(test, dictionaries)) for test in (still_learning, has_stalled))
    known = sum(map(_is_known, dictionaries))
    if stalled:
        yield f"{stalled} of {len(dictionaries)} dictionaries have learned nothing: raise their learning rate."
    elif falling:
        yield (f"Not final: {falling} of {len(dictionaries)} dictionaries were still learning when training ended.")
    elif known and known == len(dictionaries):
        yield f"All {known} dictionaries had converged."
    elif dictionaries:
        yield f"It is not known whether {len(dictionaries) - known} of {len(dictionaries)} dictionaries had converged."


def _is_known(dictionary: Dictionary) -> bool:
    return measured(dictionary, "convergence.converged") is not None
