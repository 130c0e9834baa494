"""The overview: what was run, what came out in words, and why not to believe it too quickly."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from analyze.section import Section, count, decimal, listing, measured, percent, significant
from analyze.section_ladder import Pair, ladder_of, ladders, names, pairs_by_ladder
from analyze.section_training import STILL_FALLING, last_half_fall

SAME_L0 = 1.25  # dictionaries whose L0 differ by more than this factor are not equally sparse
MANY_DEAD = 0.1
AT_MOST = 6  # settings that are told in words
PRESENT, PARTLY = 0.7, 0.3  # corrected MMCS at which latents are called mostly, or partly, present


def overview_section(metrics: Mapping[str, Any]) -> Section:
    return Section(
        name="overview",
        title="Overview",
        facts=_facts(metrics),
        paragraphs=[*_quality_in_words(metrics), *_sizes_in_words(metrics)],
        caveats=[*_caveats(metrics)],
    )


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    run, evaluation = metrics.get("run") or {}, metrics.get("evaluation") or {}
    dictionaries = metrics.get("dictionaries") or []
    sizes = sorted({d["n_latents"] for d in dictionaries})
    held_out = f"{count(measured(evaluation, 'sequences'))} sequences, {count(measured(evaluation, 'rows'))} rows"
    facts = [
        ("Run", run.get("path")),
        ("Model", run.get("model")),
        ("Text", run.get("text")),
        ("Tokens", run.get("tokens") and f"{count(run['tokens'])} in sequences of {count(run.get('context'))}"),
        ("Harvested", run.get("rows") and f"{count(run['rows'])} rows"),
        ("Positions", run.get("positions")),
        ("Evaluated on", held_out if evaluation else None),
        ("Dictionaries", dictionaries and f"{len(dictionaries)}, of {listing(list(map(count, sizes)), 6)} latents"),
    ]
    return [(term, str(value)) for term, value in facts if value]


def _quality_in_words(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say of each hook what the best dictionary of every ladder reaches, from the sparsest on."""
    hooks: dict[str, list[Mapping[str, Any]]] = {}
    for ladder, dictionaries in ladders(metrics).items():
        known = [d for d in dictionaries if measured(d, "fvu") is not None]
        if known:
            hooks.setdefault(ladder.hook, []).append(min(known, key=lambda d: d["fvu"]))
    for hook, best in hooks.items():
        best.sort(key=lambda d: measured(d, "l0") or 0)
        more = [f"{len(best) - AT_MOST} more settings in the section Quality"] if len(best) > AT_MOST else []
        yield f"{hook}: " + "; ".join([*map(_quality, best[:AT_MOST]), *more]) + "."


def _quality(dictionary: Mapping[str, Any]) -> str:
    recovered = measured(dictionary, "ce.recovered")
    return (
        f"{ladder_of(dictionary).settings} reaches FVU {decimal(dictionary['fvu'])} at L0 "
        f"{significant(measured(dictionary, 'l0'))} with {count(dictionary['n_latents'])} latents"
        + (f", {percent(recovered)} of the loss recovered" if recovered is not None else "")
    )


def _sizes_in_words(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say of the first ladders how much of every size is present in the next, with the chance level."""
    ladder_pairs = {
        label: [
            p
            for p in pairs
            if p.source["n_latents"] < p.target["n_latents"] and measured(p.scores, "mmcs_corrected") is not None
        ]
        for label, pairs in pairs_by_ladder(metrics).items()
    }
    told = [(label, upwards) for label, upwards in ladder_pairs.items() if upwards]
    for label, upwards in told[:AT_MOST]:
        yield f"{label}: " + "; ".join(map(_shared_in_words, upwards)) + "."
    if len(told) > AT_MOST:
        yield f"{len(told) - AT_MOST} more settings are compared in the section Sizes."


def _shared_in_words(pair: Pair) -> str:
    corrected = pair.scores["mmcs_corrected"]
    how = (
        "mostly present in"
        if corrected >= PRESENT
        else "partly present in"
        if corrected >= PARTLY
        else "hardly present in"
        if corrected > 0
        else "no closer than chance to"
    )
    source, target = pair.ends
    return (
        f"latents of {source} are {how} {target} (MMCS {decimal(measured(pair.scores, 'mmcs'), 2)}, chance "
        f"{decimal(measured(pair.scores, 'mmcs_null'), 2)}, corrected {decimal(corrected, 2)})"
    )


def _caveats(metrics: Mapping[str, Any]) -> Iterator[str]:
    dictionaries = metrics.get("dictionaries") or []
    falling = [d for d in dictionaries if (last_half_fall(measured(d, "curve")) or 0) > STILL_FALLING]
    if falling:
        yield (
            f"Not converged: {len(falling)} of {len(dictionaries)} dictionaries still fell by more than "
            f"{STILL_FALLING:.0%} over the last half of their training ({listing(names(falling))}). "
            "What they share may change with more rows."
        )
    pairs = [pair for group in pairs_by_ladder(metrics).values() for pair in group]
    chance = [p for p in pairs if (measured(p.scores, "mmcs_corrected") or 0) <= 0 and "mmcs_corrected" in p.scores]
    if chance:
        yield (
            f"At or below chance: {len(chance)} of {len(pairs)} comparisons share no more than random directions "
            f"would ({listing([_where(p) for p in chance])})."
        )
    yield from _unequal_sparsity(metrics)
    dead = [d for d in dictionaries if (measured(d, "dead_fraction") or 0) > MANY_DEAD]
    if dead:
        yield (
            f"Dead latents: more than {MANY_DEAD:.0%} of {len(dead)} dictionaries never fired "
            f"({listing(names(dead))}), so they are smaller than their size says."
        )
    if pairs and not any(p.source["n_latents"] == p.target["n_latents"] for p in pairs):
        yield (
            "No ceiling: no two dictionaries of equal size and different seeds were compared, so it is not known "
            "how much of a difference between sizes is only a difference between trainings."
        )


def _unequal_sparsity(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Name the ladders whose neighbouring sizes differ in L0: an equal penalty is not an equal sparsity."""
    unequal = []
    for ladder, dictionaries in ladders(metrics).items():
        l0s = [value for d in dictionaries if (value := measured(d, "l0"))]
        if any(max(a, b) > SAME_L0 * min(a, b) for a, b in pairwise(l0s)):
            unequal.append(f"{ladder.label}: L0 {', '.join(map(significant, l0s))}")
    if unequal:
        yield (
            f"Different sparsity: neighbouring sizes differ in L0 by more than a factor of {SAME_L0:g} "
            f"({listing(unequal)}); part of what differs between them is sparsity, not size."
        )


def _where(pair: Pair) -> str:
    return f"{ladder_of(pair.source).label}: {pair.label}"
