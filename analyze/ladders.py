"""Group the dictionaries of a run by their settings. Those that differ only in size form a ladder.

    kind_of(entry, but=("seed", "rows"))      # equal for two entries that differ only in these fields

Sizes are compared within a ladder: same hook, architecture, options, sparsity and seed.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from analyze.format import Number, count
from analyze.schema.activations import Activations
from analyze.schema.record import Record, measured
from analyze.schema.report import Metrics

Entry = TypeVar("Entry", bound=Mapping[str, Any])
ACROSS = "Between different settings"
R = TypeVar("R", bound=Record)


TRAINING = ("learning_rate", "rows")  # fields about a dictionary's training, not about what it is


class Kind(NamedTuple):
    """The settings that identify a dictionary; fields that may differ are None."""

    hook: str | None
    architecture: str | None
    n_latents: int | None
    sparsity: tuple[tuple[str, Number], ...]
    options: tuple[tuple[str, Hashable], ...]  # what else distinguishes it: an initialisation, a bandwidth
    seed: int | None
    learning_rate: float | None
    rows: int | None


def kind_of(entry: Mapping[str, Any], but: Collection[str]) -> Kind:
    """Return the kind of a dictionary, a group or a grid of `metrics.json`, without the named fields.

    Entries with equal results are of one kind. `but` may also name a single option: "run", "initialisation".
    """
    values: dict[str, Any] = {
        field: entry[field] if field in entry and field not in but else None for field in Kind._fields
    }
    for field in ("sparsity", "options"):
        parts = (values[field] or {}).items()
        values[field] = tuple(sorted((name, _hashable(value)) for name, value in parts if name not in but))
    return Kind(**values)


def group_by_kind(entries: Iterable[Entry], but: Collection[str]) -> list[list[Entry]]:
    """Group the entries by kind; kinds and entries keep their order."""
    found: dict[Kind, list[Entry]] = {}
    for entry in entries:
        found.setdefault(kind_of(entry, but), []).append(entry)
    return list(found.values())


def neighbouring_sizes(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Pair each dictionary with the next larger one of the same hook, architecture, options, sparsity and seed.

    `entries` come from `metrics.json`.
    """
    return _neighbours(entries, "n_latents")


def neighbouring_seeds(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Pair each dictionary with the next seed of the same hook, architecture, options, sparsity and size."""
    return _neighbours(entries, "seed")


def _neighbours(entries: Sequence[Entry], field: str) -> list[tuple[Entry, Entry]]:
    """Pair entries that follow one another in `field` and are of one kind in all else."""
    found = []
    for alike in group_by_kind((e for e in entries if e[field] is not None), but=(field, *TRAINING)):
        # the learning rate may depend on the size; it separates entries only if nothing else does
        separates = len({entry[field] for entry in alike}) < len(alike)
        for group in group_by_kind(alike, but=(field, "rows")) if separates else [alike]:
            found += pairwise(sorted(group, key=lambda entry: entry[field]))
    return found


def _hashable(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return tuple(sorted((k, _hashable(v)) for k, v in value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


class Ladder(NamedTuple):
    """The settings that the dictionaries of one ladder share; sorts and prints sensibly."""

    hook: str
    architecture: str
    sparsity: tuple[tuple[str, Number], ...]
    seed: int
    options: tuple[tuple[str, str], ...] = ()  # what else distinguishes it: an initialisation, a bandwidth

    @property
    def settings(self) -> str:
        """Format the settings with the configuration's names: `topk · k 32 · seed 0`."""
        return f"{self.kind} · seed {self.seed}"

    @property
    def kind(self) -> str:
        """Format the settings without the seed: `topk · k 32`."""
        sparsity = [f"{key} {value:g}" for key, value in self.sparsity]
        options = [f"{key} {value}" for key, value in self.options]
        return " · ".join([self.architecture, *options, *sparsity])

    @property
    def label(self) -> str:
        return f"{self.hook} · {self.settings}"


def ladder_of(entry: Mapping[str, Any]) -> Ladder:
    """Return the ladder of a dictionary, a group or a grid; an entry without a seed counts as seed 0."""
    kind = kind_of(entry, but=("n_latents", *TRAINING))
    options = tuple((key, str(entry["options"][key])) for key, _ in kind.options)
    return Ladder(entry["hook"], entry["architecture"], kind.sparsity, kind.seed or 0, options)


def trained(entries: Iterable[Entry]) -> list[Entry]:
    """Leave out the controls, which are compared with nothing but what they are controls for."""
    return [entry for entry in entries if entry.get("control") is None]


def without_controls(metrics: Metrics) -> Metrics:
    """Return the metrics of the trained dictionaries alone."""
    return metrics.but(dictionaries=trained(metrics.dictionaries or []))


def with_telling_options(metrics: Metrics) -> Metrics:
    """Return the metrics without the options that all dictionaries of an architecture share: names stay short.

    If the activations come from several runs, their hooks' names include the run.
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
    """Group the dictionaries into ladders, each from the smallest to the largest; hooks keep their order."""
    dictionaries = metrics.get("dictionaries") or []
    hooks = {hook: i for i, hook in enumerate(dict.fromkeys(d["hook"] for d in dictionaries))}
    found: dict[Ladder, list[Mapping[str, Any]]] = {}
    for dictionary in sorted(dictionaries, key=lambda d: (hooks[d["hook"]], ladder_of(d), d["n_latents"])):
        found.setdefault(ladder_of(dictionary), []).append(dictionary)
    return found


def ladders_of(
    metrics: Mapping[str, Any], has: Callable[[Mapping[str, Any]], object]
) -> dict[str, list[Mapping[str, Any]]]:
    """Group the dictionaries for which `has` is true by their ladder's label; empty ladders are left out."""
    chosen = {ladder.label: [d for d in found if has(d)] for ladder, found in ladders(metrics).items()}
    return {label: found for label, found in chosen.items() if found}


class Pair(NamedTuple):
    """A comparison of two dictionaries: how well `target` contains the latents of `source`."""

    scores: Mapping[str, Any]
    source: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def ends(self) -> tuple[str, str]:
        """Name both ends by their size, and by other settings in which they differ."""
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
    """Return the comparisons under a key, each with its two dictionaries."""
    by_path = {dictionary["path"]: dictionary for dictionary in metrics.get("dictionaries") or []}
    return [Pair(scores, by_path[scores["from"]], by_path[scores["to"]]) for scores in metrics.get(key) or []]


def pairs_by_ladder(metrics: Mapping[str, Any]) -> dict[str, list[Pair]]:
    """Group the comparisons by their ladder's label, in the ladders' order; `ACROSS` is for those between ladders."""
    pairs = pairs_of(metrics)
    found: dict[str, list[Pair]] = {ladder.label: [] for ladder in ladders(metrics)} | {ACROSS: []}
    for pair in sorted(pairs, key=_order):
        same = ladder_of(pair.source) == ladder_of(pair.target)
        found[ladder_of(pair.source).label if same else ACROSS].append(pair)
    return {label: group for label, group in found.items() if group}


def _order(pair: Pair) -> tuple[Any, ...]:
    low, high = sorted([pair.source["n_latents"], pair.target["n_latents"]])
    return low, high, pair.source["n_latents"], pair.ends
