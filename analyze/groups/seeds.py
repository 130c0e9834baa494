"""Compute means and confidence intervals over seeds, and test whether two kinds of dictionaries differ.

    for group in groups(entries):
        group["fvu"]["mean"], group["fvu"]["low"], group["fvu"]["high"]      # a 95 % interval
    for difference in differences(entries, found):
        difference["of"], difference["mean"], difference["low"], difference["high"], difference["p_adjusted"]

The interval of a mean is Student's t over seeds. Numbers of rows are averaged in logarithms, as they are interpolated:
the mean is geometric, and two kinds differ by a factor. Two groups that differ in one option only (such as the
initialisation) are compared by Welch's t, which does not assume equal variances. Seeds are not paired, since equal
seeds of different initialisations share no draw that matters. p-values are adjusted by Holm's method for the number
of comparisons that answer one question.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from analyze.ladders import Kind, group_by_kind, kind_of

Entry = Mapping[str, Any]
CONFIDENCE = 0.95
QUANTITIES = {  # name -> keys in an entry
    "rows_to_half": ("truth", "rows_to_half"),
    "recovered": ("truth", "recovered"),
    "mmcs_corrected": ("truth", "mmcs_corrected"),
    "fvu": ("fvu",),
    "l0": ("l0",),
}
LOGARITHMIC = {"rows_to_half"}


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def groups(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Group the dictionaries of `metrics.json` that differ only in their seed, at least two each."""
    kinds = group_by_kind(entries, but=("seed", "rows"))
    return [_group(sorted(alike, key=lambda e: e["seed"] or 0)) for alike in kinds if len(alike) > 1]


def differences(entries: Sequence[Entry], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compare every two of `groups(entries)` that differ in one option only, quantity by quantity.

    `from` and `to` are the groups' indices; `mean` is the second group's mean minus the first's or, if `factor` is
    true, divided by it.
    """
    by_path = {entry["path"]: entry for entry in entries}
    results: list[dict[str, Any]] = []
    families: dict[tuple[str, str, Kind], list[dict[str, Any]]] = {}
    for (i, a), (j, b) in combinations(enumerate(found), 2):
        option = _one_difference(a, b)
        if option is None:
            continue
        for name in QUANTITIES:
            first, second = ([_value(by_path[path], name) for path in group["paths"]] for group in (a, b))
            known = [[value for value in values if value is not None] for values in (first, second)]
            if known != [first, second]:
                continue  # a seed that never got there has no value: the mean of the others would be too good
            factor = name in LOGARITHMIC
            compared = welch(*([*map(math.log, values)] if factor else values for values in known))
            if factor:
                compared |= {key: math.exp(compared[key]) for key in Interval._fields}
            one = {"from": i, "to": j, "option": option, "of": name, "factor": factor, **compared}
            results.append(one)
            families.setdefault((name, option, kind_of(a, but=(option,))), []).append(one)
    for family in families.values():
        for one, adjusted in zip(family, holm([one["p"] for one in family]), strict=True):
            one["p_adjusted"] = adjusted
    return results


def student(values: Sequence[float]) -> Interval:
    """Compute the mean and its 95 % interval; the ends are NaN for fewer than two values."""
    mean = fmean(values)
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - float(reach), mean + float(reach))


def geometric(values: Sequence[float]) -> Interval:
    """Compute the geometric mean of the positive values and its 95 % interval, by Student's t in logarithms."""
    return Interval(*map(math.exp, student([*map(math.log, values)])))


def welch(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Compute mean(b) − mean(a), its 95 % interval and the p-value of no difference (Welch 1947)."""
    mean = fmean(b) - fmean(a)
    if len({*a}) == len({*b}) == 1:  # no spread: no t
        return {"mean": mean, "low": mean, "high": mean, "p": float(mean == 0)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # if one of the two has no spread
        found: Any = stats.ttest_ind(b, a, equal_var=False)
    low, high = map(float, found.confidence_interval(CONFIDENCE))
    return {"mean": mean, "low": low, "high": high, "p": float(found.pvalue)}


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979), which bounds the family-wise error rate."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)))
    return adjusted.tolist()


def _group(alike: Sequence[Entry]) -> dict[str, Any]:
    first = alike[0]
    known = {name: [_value(entry, name) for entry in alike] for name in QUANTITIES}
    return {
        **{key: first.get(key) for key in ("hook", "architecture", "n_latents", "sparsity", "options")},
        "seeds": [entry["seed"] for entry in alike],
        "paths": [entry["path"] for entry in alike],
        **{name: _summary(values, geometric if name in LOGARITHMIC else student) for name, values in known.items()},
    }


def _summary(
    values: Sequence[float | None], interval_of: Callable[[Sequence[float]], Interval]
) -> dict[str, Any] | None:
    """Summarise a quantity that all have; if only some have it (half of the features never found), count those."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    interval = interval_of(known) if len(known) == len(values) else Interval(math.nan, math.nan, math.nan)
    return {"known": len(known), **interval._asdict()}


def _value(entry: Entry, name: str) -> float | None:
    value: Any = entry
    for key in QUANTITIES[name]:
        value = value.get(key) if value is not None else None
    return value


def _one_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Name the one option in which two groups differ; None if they differ in anything else."""
    options = [group["options"] or {} for group in (a, b)]
    differing = [key for key in sorted({*options[0], *options[1]}) if options[0].get(key) != options[1].get(key)]
    return differing[0] if len(differing) == 1 and kind_of(a, but=differing) == kind_of(b, but=differing) else None
