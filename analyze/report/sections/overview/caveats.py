"""The caveats: why a reader should not believe a comparison too quickly, each a label that opens to its reason."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from analyze.format import decimal, listing, significant
from analyze.ladders import Pair, full_name, ladder_of, ladders, names, pairs_by_ladder
from analyze.report.section import Note
from analyze.report.sections.convergence import has_stalled
from analyze.report.sections.training import still_learning
from analyze.schema.record import measured
from winnow.shards.manifest import mixture
from winnow.sparsity import L0_TOLERANCE, misses_k

SAME_L0 = 1.25  # dictionaries whose L0 differ by more than this factor are not equally sparse
MANY_DEAD = 0.1


def caveats(metrics: Mapping[str, Any]) -> Iterator[Note]:
    """Yield what makes the comparisons doubtful, the gravest first."""
    dictionaries = metrics.get("dictionaries") or []
    falling = [d for d in dictionaries if still_learning(d)]
    if falling:
        yield Note(
            f"Not converged: {len(falling)} of {len(dictionaries)}",
            f"These dictionaries were still learning when training ended: {listing(names(falling))}. "
            "More rows may change what they share.",
        )
    stalled = [d for d in dictionaries if has_stalled(d)]
    if stalled:
        yield Note(
            f"Stalled: {len(stalled)} of {len(dictionaries)}",
            f"These dictionaries stood still without having learned: {listing(names(stalled))}. "
            "A higher learning rate would move them; what they share says nothing about the data.",
        )
    missed = [d for d in dictionaries if _misses_k(d)]
    if missed:
        shown = [f"{full_name(d)} (L0 {decimal(measured(d, 'l0'))})" for d in missed]
        yield Note(
            f"L0 is not k: {len(missed)} of {len(dictionaries)}",
            f"The threshold lets more or fewer latents through than k, by over {L0_TOLERANCE:.0%}: {listing(shown)}. "
            "Compare them by their L0.",
        )
    pairs = [pair for group in pairs_by_ladder(metrics).values() for pair in group]
    chance = [p for p in pairs if (found := measured(p.scores, "mmcs_corrected")) is not None and found <= 0]
    if chance:
        yield Note(
            f"At or below chance: {len(chance)} of {len(pairs)}",
            "Random vectors with the decoder's second moment would reach as high an MMCS in these comparisons: "
            f"{listing([_where(p) for p in chance])}.",
        )
    worse = [
        d
        for d in dictionaries
        if (pca := measured(d, "baselines.pca")) is not None and (fvu := measured(d, "fvu")) is not None and fvu >= pca
    ]
    if worse:
        yield Note(
            f"No better than PCA: {len(worse)} of {len(dictionaries)}",
            "PCA with as many components as the dictionary's L0 reaches as low an FVU as these: "
            f"{listing(names(worse))}.",
        )
    devices = measured(metrics, "run.devices") if metrics.get("run") else None
    if devices and (found := mixture(devices)):
        yield Note(f"Several kinds of device: {len(devices)}", f"The rows were {found}.")
    unequal = _unequal_sparsity(metrics)
    if unequal:
        yield Note(
            "Different sparsity",
            f"The L0 of neighbouring sizes differs by more than a factor of {SAME_L0:g}: {listing(unequal)}. "
            "Part of the difference between them comes from sparsity, not from size.",
        )
    dead = [d for d in dictionaries if (measured(d, "dead_fraction") or 0) > MANY_DEAD]
    if dead:
        yield Note(
            f"Dead latents: {len(dead)} of {len(dictionaries)}",
            f"More than {MANY_DEAD:.0%} of the latents never fired in these dictionaries: {listing(names(dead))}. "
            "They are effectively smaller than their nominal size.",
        )
    if pairs and not metrics.get("ceilings"):
        yield Note(
            "No ceiling",
            "No size was trained with a second seed, so the report cannot say how much of a difference between sizes "
            "is only a difference between trainings.",
        )


def _unequal_sparsity(metrics: Mapping[str, Any]) -> list[str]:
    """Name the ladders whose neighbouring sizes differ in L0: an equal penalty is not an equal sparsity."""
    unequal = []
    for ladder, dictionaries in ladders(metrics).items():
        l0s = [value for d in dictionaries if (value := measured(d, "l0"))]
        if any(max(a, b) > SAME_L0 * min(a, b) for a, b in pairwise(l0s)):
            unequal.append(f"{ladder.label} (L0 {', '.join(map(significant, l0s))})")
    return unequal


def _where(pair: Pair) -> str:
    return f"{ladder_of(pair.source).label} ({pair.label})"


def _misses_k(dictionary: Mapping[str, Any]) -> bool:
    """Tell whether a dictionary that fires above a threshold has another L0 than the k it was trained for."""
    k, l0 = (dictionary["sparsity"] or {}).get("k"), measured(dictionary, "l0")
    return bool(k and l0 and dictionary["architecture"] != "topk" and misses_k(k, l0))
