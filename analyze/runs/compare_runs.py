"""Several runs in one report: python -m analyze --config FILE --runs runs/b runs/c

    RUN/comparison/metrics.json   as report/metrics.json, with the dictionaries of all runs
    RUN/comparison/index.html     the same as plots, beside comparison/figures/

Every run is first measured by itself, into its own report/. Dictionaries are named by their path as seen from the
configured run, RUN. Runs that evaluate the same rows of the same model are compared: each dictionary with its
counterpart in every other run. Runs that differ in that stand side by side, with the reason. What was compared before
stays, as long as both dictionaries are the same.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analyze.inputs import ANALYSIS, evaluated, run_tokens
from analyze.ladders import trained
from analyze.runs.paired_runs import MeasuredRun, why_not_paired
from analyze.schema.comparisons import Pair
from analyze.schema.file import read_metrics, refuse_older
from analyze.schema.metrics import shown
from analyze.schema.record import read_record
from analyze.schema.report import Metrics
from analyze.stage import measure_run
from analyze.update import update_report
from winnow.config.command_line import load_experiment
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.paths import expand_text
from winnow.runtime.hashes import check_file, said_of
from winnow.runtime.lock import run_lock
from winnow.runtime.run import Run
from winnow.runtime.to_json import to_json

FOLDER = "comparison"


def compare_runs(config: Experiment, others: Sequence[str]) -> None:
    """Measure the configured run, and, where others are named, compare all of them in one report.

    Raises `UserError` where one of them cannot be measured, and where one is no run.
    """
    if not others:
        measure_run(config)
        return
    runs = [_measured(config, config, config.run)]
    for path in dict.fromkeys(map(expand_text, others)):
        if Path(path).resolve() not in {Path(run.config.run).resolve() for run in runs}:
            runs.append(_measured(config, _config_of(path), path))
    folder = Path(config.run) / FOLDER
    with run_lock(Path(config.run)):
        inputs = {
            "analysis": ANALYSIS,
            "runs": [run.prefix for run in runs],  # not by name: a run may be spelt in many ways
            "harvest": runs[0].metrics["inputs"]["harvest"],
            "dictionaries": {path: digest for run in runs for path, digest in run.inputs().items()},
        }

        def measured(before: Metrics | None) -> Metrics:
            found = compared(runs, still_valid(before, inputs), folder) | {"inputs": inputs}
            return read_record(Metrics, to_json(found))

        update_report(folder, inputs, measured, lambda _: f"these {len(runs)} runs are compared")


Pairs = dict[tuple[str, str], Pair]


def still_valid(before: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> Pairs:
    """Take over the earlier comparisons, by both paths, of dictionaries that did not change."""
    if before is None or before["inputs"]["analysis"] != inputs["analysis"]:
        return {}
    then, now = before["inputs"]["dictionaries"], inputs["dictionaries"]
    same = {path for path, digest in then.items() if now.get(path) == digest}
    return {(p["from"], p["to"]): p for p in before["pairs"] if p["from"] in same and p["to"] in same}


def compared(runs: Sequence[MeasuredRun], known: Pairs, folder: Path) -> dict[str, Any]:
    """Join what the runs' reports hold, and compare those counterparts that `known` does not hold.

    `folder` is that of the joint report.
    """
    # imported here: a stage that has nothing to do need not wait for torch and transformers
    from analyze.collect.metrics import over_entries
    from analyze.groups.grid import grids
    from analyze.runs.across_runs import compare_across

    entries = [entry for run in runs for entry in run.dictionaries()]
    joined = {
        key: [run.renamed(entry) for run in runs for entry in run.metrics[key]]
        for key in ("pairs", "ceilings", "controls", "families", "lineages")
    }
    across = compare_across(runs, known, folder)
    return {
        **{key: runs[0].metrics[key] for key in ("version", "run", "evaluation")},
        "shown": shown(),
        "runs": [_about(run, runs[0]) for run in runs],
        "dictionaries": entries,
        **joined,
        "pairs": joined["pairs"] + across,
        "choosing": grids(trained(entries), joined["pairs"]),
        "truth": next((truth for run in runs if (truth := run.metrics["truth"])), None),
        **over_entries(trained(entries)),
        "activations": side_by_side(runs),
    }


def side_by_side(runs: Sequence[MeasuredRun]) -> list[dict[str, Any]]:
    """Gather what the runs say of their activations; of runs on the same rows, each hook once.

    Distributions stand side by side also where dictionaries cannot be compared: of other models, or toy data.
    """
    found, seen = [], set()
    for run in runs:
        rows = json.dumps(run.evaluated, sort_keys=True)
        for hook in run.metrics["activations"]:
            if (rows, hook["hook"]) not in seen:
                seen.add((rows, hook["hook"]))
                found.append({**hook, "run": run.name})
    return found


def _measured(own: Experiment, config: Experiment, name: str) -> MeasuredRun:
    path = Run(Path(config.run)).report / "metrics.json"
    resolved = Path(config.run) / "config.toml"
    refuse_older(path, f"run python -m analyze --config {resolved} --run {config.run} first")
    measure_run(config)
    metrics = read_metrics(path)
    assert metrics is not None, path
    prefix = "" if config is own else os.path.relpath(config.run, own.run) + "/"
    return MeasuredRun(name, config, prefix, metrics, evaluated(config, run_tokens(config)))


def _config_of(path: str) -> Experiment:
    """Read the configuration that a run was made with, wherever the run lies now."""
    resolved = Path(path) / "config.toml"
    if not resolved.exists():
        raise UserError(f"--runs: {resolved}: no such file; {path} is no run that was started")
    check_file(resolved, said_of(resolved), "run a stage of that run again, which writes it")
    return load_experiment("python -m analyze", ["--config", str(resolved), "--run", path])


def _about(run: MeasuredRun, own: MeasuredRun) -> dict[str, Any]:
    reason = None if run is own else why_not_paired(run, own)
    about = {"name": run.name, **run.metrics["run"], "compared": reason is None, "reason": reason}
    return {**about, "truth": run.metrics["truth"]}
