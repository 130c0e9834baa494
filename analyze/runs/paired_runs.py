"""Runs that are compared: what each says of its dictionaries, which can be compared, and which with which."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from analyze.schema.dictionaries import Dictionary
from analyze.schema.record import Record
from analyze.schema.report import InputHashes, Metrics
from winnow.config.experiment import Experiment
from winnow.runtime.run import Run

R = TypeVar("R", bound=Record)
E = TypeVar("E", bound=Mapping[str, Any])  # an entry of a dictionary


class MeasuredRun(NamedTuple):
    """One run: its name in the comparison, its configuration, and what its own report says."""

    name: str  # as it was given
    config: Experiment
    prefix: str  # from the configured run to this one: "" or "../b/"
    metrics: Metrics
    evaluated: dict[str, Any]  # what its dictionaries were evaluated on

    def renamed(self, entry: R) -> R:
        """Name the dictionaries of an entry by their paths as seen from the configured run."""
        named: dict[str, Any] = {
            attribute: self.prefix + entry[key]
            for key, attribute in (("path", "path"), ("from", "from_"), ("to", "to"))
            if key in entry
        }
        for key in ("features_csv", "latents_csv"):  # relative to a report, which lies in a folder of the run
            if key in entry and entry[key] is not None:
                named[key] = f"../{self.prefix}report/{entry[key]}"
        if "paths" in entry:
            named["paths"] = [self.prefix + path for path in entry["paths"]]
        return entry.but(**named)

    def dictionaries(self) -> list[Dictionary]:
        """Give the entries of its dictionaries, with the run as one of their options."""
        entries = map(self.renamed, self.metrics.dictionaries or [])
        return [entry.but(options={**(entry.options or {}), "run": self.name}) for entry in entries]

    @property
    def run(self) -> Run:
        return Run(Path(self.config.run))

    def inputs(self) -> dict[str, str]:
        """Name all that its dictionaries' measurements follow from: path -> hashes."""
        made = self.metrics.inputs
        assert isinstance(made, InputHashes)
        return {self.prefix + path: f"{made.evaluation}:{digest}" for path, digest in made.dictionaries.items()}


def why_not_paired(run: MeasuredRun, other: MeasuredRun) -> str | None:
    """Say in what two runs differ so that their dictionaries cannot be compared; None where they can."""
    for name, value in run.evaluated.items():
        if other.evaluated.get(name) != value:
            return f"{name} differs from that of {other.name}"
    hooks = [{entry["hook"] for entry in one.metrics["dictionaries"]} for one in (run, other)]
    return None if hooks[0] & hooks[1] else f"its dictionaries have no hook in common with those of {other.name}"


def counterparts(entries: Sequence[E], others: Sequence[E]) -> list[tuple[E, E]]:
    """Pair each dictionary of either run with the one of the other that is most like it, at the same hook.

    Most alike is what is nearest in size, then of the same architecture, then of the same options (the run not
    counted), then nearest in L0, then of the same seed. A pair that is found from both sides is there once.
    """
    found = {}
    for here, there, turned in ((entries, others, False), (others, entries, True)):
        for entry in here:
            near = [other for other in there if other["hook"] == entry["hook"]]
            if near:
                best = min(near, key=lambda other: _distance(entry, other))
                pair = (best, entry) if turned else (entry, best)
                found[pair[0]["path"], pair[1]["path"]] = pair
    return list(found.values())


def _distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Any, ...]:
    options = [{k: v for k, v in entry["options"].items() if k != "run"} for entry in (a, b)]
    return (
        abs(math.log(a["n_latents"] / b["n_latents"])),
        a["architecture"] != b["architecture"],
        options[0] != options[1],
        abs((a["l0"] or 0) - (b["l0"] or 0)),
        a["seed"] != b["seed"],
        b["path"],
    )
