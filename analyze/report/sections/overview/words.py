"""Every setting in words: the quality that it reaches, and how similar its sizes are; at most a few of each."""

from collections.abc import Iterator, Mapping
from typing import Any

from analyze.format import count, decimal, percent, significant
from analyze.ladders import ladder_of, ladders
from analyze.report.sections.overview.agreement import Step, reaches_ceiling, similarity, steps_of
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]
AT_MOST = 6  # settings that are told in words


def quality_in_words(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say for each hook what the best dictionary of every setting reaches, whatever its seed, from the sparsest on."""
    for hook, best in best_by_hook(metrics).items():
        more = [f"{len(best) - AT_MOST} more settings are in the section Quality"] if len(best) > AT_MOST else []
        yield f"{hook}: " + "; ".join([*map(_quality, best[:AT_MOST]), *more]) + "."


def best_by_hook(metrics: Mapping[str, Any]) -> dict[str, list[Dictionary]]:
    """Find for each hook the dictionary of every setting with the lowest FVU, in the order of their L0."""
    hooks: dict[str, dict[str, list[Dictionary]]] = {}
    for ladder, dictionaries in ladders(metrics).items():
        known = [d for d in dictionaries if measured(d, "fvu") is not None]
        if known:
            hooks.setdefault(ladder.hook, {}).setdefault(ladder.kind, []).extend(known)
    return {
        hook: sorted(
            (min(known, key=lambda d: d["fvu"]) for known in kinds.values()), key=lambda d: measured(d, "l0") or 0
        )
        for hook, kinds in hooks.items()
    }


def _quality(dictionary: Dictionary) -> str:
    recovered = measured(dictionary, "ce.recovered")
    return (
        f"{ladder_of(dictionary).kind} with {count(dictionary['n_latents'])} latents reaches {fvu_at_l0(dictionary)}"
        + (f" and recovers {percent(recovered)} of the loss" if recovered is not None else "")
    )


def fvu_at_l0(dictionary: Dictionary) -> str:
    """Write the FVU with the L0 that it takes, beside that of PCA where it is known."""
    pca = measured(dictionary, "baselines.pca")
    beside = f" (PCA {decimal(pca)})" if pca is not None else ""
    return f"FVU {decimal(dictionary['fvu'])} at L0 {significant(measured(dictionary, 'l0'))}{beside}"


def sizes_in_words(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say for the first settings how similar every size is to the next, between chance and ceiling."""
    settings: dict[str, list[Step]] = {}
    for step in steps_of(metrics):
        settings.setdefault(f"{step.hook} · {step.kind}", []).append(step)
    for label, steps in [*settings.items()][:AT_MOST]:
        yield f"{label}: " + "; ".join(map(_similar, sorted(steps, key=lambda s: (s.source, s.target)))) + "."
    if len(settings) > AT_MOST:
        yield f"{len(settings) - AT_MOST} more settings are compared in the section Sizes."


def _similar(step: Step) -> str:
    numbers = f"MMCS {step.mmcs:.2f}, chance {step.chance:.2f}, corrected {step.corrected:.2f}"
    if step.ceiling is not None:
        numbers += f", ceiling {step.ceiling:.2f}"
    same = ", like two seeds of one size" if reaches_ceiling(step) else ""
    ends = f"{count(step.source)} latents and their best matches among {count(step.target)}"
    return f"{ends} are {similarity(step.corrected)}{same} ({numbers})"
