"""The overview: what was run, what came out in words, and why not to believe it too quickly."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

from analyze.format import count, decimal, listing, percent, significant
from analyze.ladders import Pair, ladder_of, ladders, names, pairs_by_ladder, pairs_of
from analyze.report.section import Section
from analyze.report.sections.mmcs import ceiling_of
from analyze.report.sections.training import still_learning
from analyze.schema.record import measured

SAME_L0 = 1.25  # dictionaries whose L0 differ by more than this factor are not equally sparse
MANY_DEAD = 0.1
AT_MOST = 6  # settings that are told in words
AS_MUCH = 0.9  # of the ceiling: as much as can be expected
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
        ("Dictionaries", dictionaries and f"{len(dictionaries)}, of {listing(list(map(count, sizes)), 6)} latents"),
        *(("Beside it", _beside(other)) for other in (metrics.get("runs") or [])[1:]),
    ]
    return [(term, str(value)) for term, value in facts if value]


def _assumed(toy: Mapping[str, Any]) -> str:
    return (
        f"{count(toy['n_features'])} features ({toy['directions']}) in {count(toy['d_model'])} dimensions, "
        f"{significant(toy['active'])} active in a row"
    )


def _beside(other: Mapping[str, Any]) -> str:
    """Say of another run in the report whether its dictionaries are compared with this one's, and if not, why."""
    return f"{other['name']}: " + ("compared" if other["compared"] else f"not compared, {other['reason']}")


def _quality_in_words(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say of each hook what the best dictionary of every setting reaches, whatever its seed, from the sparsest on."""
    hooks: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for ladder, dictionaries in ladders(metrics).items():
        known = [d for d in dictionaries if measured(d, "fvu") is not None]
        if known:
            hooks.setdefault(ladder.hook, {}).setdefault(ladder.kind, []).extend(known)
    for hook, kinds in hooks.items():
        best = sorted(
            (min(known, key=lambda d: d["fvu"]) for known in kinds.values()), key=lambda d: measured(d, "l0") or 0
        )
        more = [f"{len(best) - AT_MOST} more settings in the section Quality"] if len(best) > AT_MOST else []
        yield f"{hook}: " + "; ".join([*map(_quality, best[:AT_MOST]), *more]) + "."


def _quality(dictionary: Mapping[str, Any]) -> str:
    recovered = measured(dictionary, "ce.recovered")
    return (
        f"{ladder_of(dictionary).kind} reaches FVU {decimal(dictionary['fvu'])} at L0 "
        f"{significant(measured(dictionary, 'l0'))} with {count(dictionary['n_latents'])} latents"
        + (f", {percent(recovered)} of the loss recovered" if recovered is not None else "")
    )


class Found(NamedTuple):
    """How much of one size is present in the next, on average over seeds."""

    source: int
    target: int
    mmcs: float
    chance: float
    corrected: float
    ceiling: float | None


def _sizes_in_words(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Say of the first settings how much of every size is present in the next, between chance and ceiling."""
    settings: dict[str, dict[tuple[int, int], list[Pair]]] = {}
    for pair in pairs_of(metrics):
        ends = (pair.source["n_latents"], pair.target["n_latents"])
        same = ladder_of(pair.source) == ladder_of(pair.target)
        keys = ("mmcs", "mmcs_null", "mmcs_corrected")
        if same and ends[0] < ends[1] and all(measured(pair.scores, key) is not None for key in keys):
            ladder = ladder_of(pair.source)
            settings.setdefault(f"{ladder.hook} · {ladder.kind}", {}).setdefault(ends, []).append(pair)
    for label, steps in [*settings.items()][:AT_MOST]:
        found = [_found(metrics, ends, pairs) for ends, pairs in sorted(steps.items())]
        yield f"{label}: " + "; ".join(map(_shared_in_words, found)) + "."
    if len(settings) > AT_MOST:
        yield f"{len(settings) - AT_MOST} more settings are compared in the section Sizes."


def _found(metrics: Mapping[str, Any], ends: tuple[int, int], pairs: Sequence[Pair]) -> Found:
    mmcs, chance, corrected = (
        fmean(pair.scores[key] for pair in pairs) for key in ("mmcs", "mmcs_null", "mmcs_corrected")
    )
    ceilings = [c for pair in pairs if (c := ceiling_of(metrics, pair.scores["from"])) is not None]
    return Found(*ends, mmcs, chance, corrected, fmean(ceilings) if ceilings else None)


def _shared_in_words(found: Found) -> str:
    how = (
        "mostly present in"
        if found.corrected >= PRESENT
        else "partly present in"
        if found.corrected >= PARTLY
        else "hardly present in"
        if found.corrected > 0
        else "no closer than chance to"
    )
    numbers = f"MMCS {found.mmcs:.2f}, chance {found.chance:.2f}, corrected {found.corrected:.2f}"
    if found.ceiling is not None:
        numbers += f" of a ceiling of {found.ceiling:.2f}"
    same = found.ceiling is not None and found.corrected >= AS_MUCH * found.ceiling
    as_much = ", about as much as another training of the same size shares" if same else ""
    return f"latents of {count(found.source)} are {how} {count(found.target)} ({numbers}{as_much})"


def _caveats(metrics: Mapping[str, Any]) -> Iterator[str]:
    dictionaries = metrics.get("dictionaries") or []
    falling = [d for d in dictionaries if still_learning(d)]
    if falling:
        yield (
            f"Not converged: {len(falling)} of {len(dictionaries)} dictionaries were still learning when their "
            f"training ended ({listing(names(falling))}). What they share may change with more rows."
        )
    pairs = [pair for group in pairs_by_ladder(metrics).values() for pair in group]
    chance = [p for p in pairs if (score := measured(p.scores, "mmcs_corrected")) is not None and score <= 0]
    if chance:
        yield (
            f"At or below chance: {len(chance)} of {len(pairs)} comparisons share no more than random directions "
            f"would ({listing([_where(p) for p in chance])})."
        )
    broad = [
        p
        for p in pairs
        if (null := measured(p.scores, "covariance_null")) is not None and (measured(p.scores, "mmcs") or 0) <= null
    ]
    if broad:
        yield (
            f"At or below the stricter chance level: {len(broad)} of {len(pairs)} comparisons share no more than "
            f"random vectors with the activations' covariance would ({listing([_where(p) for p in broad])})."
        )
    worse = [
        d
        for d in dictionaries
        if (pca := measured(d, "baselines.pca")) is not None and (measured(d, "fvu") or 0) >= pca
    ]
    if worse:
        yield (
            f"No better than PCA: {len(worse)} of {len(dictionaries)} dictionaries reconstruct less than as many "
            f"principal components as their L0 would ({listing(names(worse))})."
        )
    yield from _unequal_sparsity(metrics)
    dead = [d for d in dictionaries if (measured(d, "dead_fraction") or 0) > MANY_DEAD]
    if dead:
        yield (
            f"Dead latents: more than {MANY_DEAD:.0%} of {len(dead)} dictionaries never fired "
            f"({listing(names(dead))}), so they are smaller than their size says."
        )
    if pairs and not metrics.get("ceilings"):
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
