"""Order the dictionaries of a run: a ladder is the dictionaries that differ only in their size.

Sizes are compared within a ladder: same hook, architecture, options, sparsity and seed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from analyze.format import Number, count
from analyze.schema.activations import Activations
from analyze.schema.record import Record, measured
from analyze.schema.report import Metrics

ACROSS = "Between different settings"
R = TypeVar("R", bound=Record)


class Ladder(NamedTuple):
    """What the dictionaries of one ladder have in common; sorts and prints sensibly."""

    hook: str
    architecture: str
    sparsity: tuple[tuple[str, Number], ...]
    seed: int
    options: tuple[tuple[str, str], ...] = ()  # what else distinguishes it: an initialisation, a bandwidth

    @property
    def settings(self) -> str:
        """Name what was set as the configuration does: `topk · k 32 · seed 0`."""
        return f"{self.kind} · seed {self.seed}"

    @property
    def kind(self) -> str:
        """Name all of it but the seed: `topk · k 32`."""
        sparsity = [f"{key} {value:g}" for key, value in self.sparsity]
        options = [f"{key} {value}" for key, value in self.options]
        return " · ".join([self.architecture, *options, *sparsity])

    @property
    def label(self) -> str:
        return f"{self.hook} · {self.settings}"


def ladder_of(dictionary: Mapping[str, Any]) -> Ladder:
    sparsity = tuple(sorted((measured(dictionary, "sparsity") or {}).items()))
    options = tuple(sorted((k, str(v)) for k, v in (measured(dictionary, "options") or {}).items()))
    seed = measured(dictionary, "seed") or 0
    return Ladder(dictionary["hook"], dictionary["architecture"], sparsity, seed, options)


def with_telling_options(metrics: Metrics) -> Metrics:
    """Return the metrics without the options that all dictionaries of an architecture share: names stay short.

    Activations of several runs are named after their runs.
    """
    values: dict[tuple[str, str], set[str]] = {}
    dictionaries = metrics.dictionaries or []
    keys = {(d["architecture"], key) for d in dictionaries for key in measured(d, "options") or {}}
    for architecture, key in keys:
        of_one = [measured(d, "options") or {} for d in dictionaries if d["architecture"] == architecture]
        values[architecture, key] = {repr(options.get(key)) for options in of_one}

    def shortened(record: R) -> R:
        options = measured(record, "options") or {}
        kept = {k: v for k, v in options.items() if len(values.get((record["architecture"], k), ())) > 1}
        return record.but(options=kept)

    runs = {hook.run for hook in metrics.activations or []}
    return metrics.but(
        dictionaries=[shortened(record) for record in dictionaries],
        choosing=[shortened(record) for record in metrics.choosing or []],
        groups=[shortened(record) for record in metrics.groups or []],
        activations=[_of_run(hook) if len(runs) > 1 else hook for hook in metrics.activations or []],
    )


def _of_run(hook: Activations) -> Activations:
    """Let the name of a hook say of which run its activations are."""
    return hook.but(hook=f"{hook.hook} ({hook.run})")


def ladders(metrics: Mapping[str, Any]) -> dict[Ladder, list[Mapping[str, Any]]]:
    """Sort the dictionaries into ladders, each from the smallest to the largest; hooks keep their order."""
    dictionaries = metrics.get("dictionaries") or []
    hooks = {hook: i for i, hook in enumerate(dict.fromkeys(d["hook"] for d in dictionaries))}
    found: dict[Ladder, list[Mapping[str, Any]]] = {}
    for dictionary in sorted(dictionaries, key=lambda d: (hooks[d["hook"]], ladder_of(d), d["n_latents"])):
        found.setdefault(ladder_of(dictionary), []).append(dictionary)
    return found


def ladders_of(
    metrics: Mapping[str, Any], has: Callable[[Mapping[str, Any]], object]
) -> dict[str, list[Mapping[str, Any]]]:
    """Sort the dictionaries for which `has` holds by the label of their ladder; ladders without any are left out."""
    chosen = {ladder.label: [d for d in found if has(d)] for ladder, found in ladders(metrics).items()}
    return {label: found for label, found in chosen.items() if found}


class Pair(NamedTuple):
    """A comparison of two dictionaries: how well the latents of `source` are present in `target`."""

    scores: Mapping[str, Any]
    source: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def ends(self) -> tuple[str, str]:
        """Name both ends by their size, and by more where they differ in more."""
        if ladder_of(self.source) == ladder_of(self.target):
            return count(self.source["n_latents"]), count(self.target["n_latents"])
        return full_name(self.source), full_name(self.target)

    @property
    def label(self) -> str:
        return " → ".join(self.ends)


def names(dictionaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name dictionaries ladder by ladder: `blocks.2.hook_resid_post · topk · k 32 · seed 0 (256, 512)`."""
    sizes: dict[Ladder, list[str]] = {}
    for dictionary in sorted(dictionaries, key=lambda d: d["n_latents"]):
        sizes.setdefault(ladder_of(dictionary), []).append(count(dictionary["n_latents"]))
    return [f"{ladder.label} ({', '.join(found)})" for ladder, found in sizes.items()]


def full_name(dictionary: Mapping[str, Any]) -> str:
    return f"{ladder_of(dictionary).label} · {count(dictionary['n_latents'])} latents"


def pairs_of(metrics: Mapping[str, Any], key: str = "pairs") -> list[Pair]:
    """Return the comparisons under a key, each with the dictionaries that it compares."""
    by_path = {dictionary["path"]: dictionary for dictionary in metrics.get("dictionaries") or []}
    return [Pair(scores, by_path[scores["from"]], by_path[scores["to"]]) for scores in metrics.get(key) or []]


def pairs_by_ladder(metrics: Mapping[str, Any]) -> dict[str, list[Pair]]:
    """Sort the comparisons by the label of the ladder that both ends stand on, in the ladders' order."""
    pairs = pairs_of(metrics)
    found: dict[str, list[Pair]] = {ladder.label: [] for ladder in ladders(metrics)} | {ACROSS: []}
    for pair in sorted(pairs, key=_order):
        same = ladder_of(pair.source) == ladder_of(pair.target)
        found[ladder_of(pair.source).label if same else ACROSS].append(pair)
    return {label: group for label, group in found.items() if group}


def _order(pair: Pair) -> tuple[Any, ...]:
    low, high = sorted([pair.source["n_latents"], pair.target["n_latents"]])
    return low, high, pair.source["n_latents"], pair.ends
