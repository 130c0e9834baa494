"""Decide which runs can be compared, and pair their dictionaries."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analyze.ladders import kind_of
from winnow.config.experiment import Experiment
from winnow.runtime.run import Run


class MeasuredRun(NamedTuple):
    """One run: its name in the comparison, its configuration, and its own metrics."""

    name: str  # as the user gave it
    config: Experiment
    prefix: str  # path from the configured run to this one: "" or "../b/"
    metrics: dict[str, Any]
    evaluated: dict[str, Any]  # identifies the evaluation rows, see `inputs.evaluated`

    def renamed(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Rewrite an entry's paths relative to the configured run."""
        paths = {key: self.prefix + entry[key] for key in ("path", "from", "to") if key in entry}
        if "features_csv" in entry:  # relative to a report, which is in a folder of the run
            paths["features_csv"] = f"../{self.prefix}report/{entry['features_csv']}"
        return {**entry, **paths, **({"paths": [self.prefix + p for p in entry["paths"]]} if "paths" in entry else {})}

    def dictionaries(self) -> list[dict[str, Any]]:
        """Return its dictionaries' entries, with the run as one of their options."""
        entries = map(self.renamed, self.metrics["dictionaries"])
        return [{**entry, "options": {**entry["options"], "run": self.name}} for entry in entries]

    @property
    def run(self) -> Run:
        return Run(Path(self.config.run))

    def inputs(self) -> dict[str, str]:
        """Return the hashes of all inputs of its dictionaries' measurements, by path."""
        made = self.metrics["inputs"]
        return {self.prefix + path: f"{made['evaluation']}:{digest}" for path, digest in made["dictionaries"].items()}


def why_not_paired(run: MeasuredRun, other: MeasuredRun) -> str | None:
    """Return the reason why two runs cannot be compared; None if they can."""
    for name, value in run.evaluated.items():
        if other.evaluated.get(name) != value:
            return f"{name} differs from that of {other.name}"
    hooks = [{entry["hook"] for entry in one.metrics["dictionaries"]} for one in (run, other)]
    return None if hooks[0] & hooks[1] else f"its dictionaries have no hook in common with those of {other.name}"


def counterparts(
    entries: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pair each dictionary of either run with the most similar one of the other run, at the same hook.

    The most similar is nearest in size, then has the same architecture, then the same options (except the run), then
    is nearest in L0, then has the same seed. A pair found from both sides is listed once.
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
    options = [kind_of(entry, but=("run",)).options for entry in (a, b)]
    return (
        abs(math.log(a["n_latents"] / b["n_latents"])),
        a["architecture"] != b["architecture"],
        options[0] != options[1],
        abs((a["l0"] or 0) - (b["l0"] or 0)),
        a["seed"] != b["seed"],
        b["path"],
    )
