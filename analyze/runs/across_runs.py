"""Compare the dictionaries of several runs with their counterparts, latent by latent."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from analyze.collect.comparisons import Comparisons
from analyze.dictionary.opened import OpenedDictionaries
from analyze.dictionary.snapshots import Stages
from analyze.evaluation.latents import read_latents
from analyze.evaluation.open import open_evaluation
from analyze.inputs import run_tokens
from analyze.ladders import trained
from analyze.runs.paired_runs import MeasuredRun, counterparts, why_not_paired
from analyze.schema.comparisons import Pair


def compare_across(
    runs: Sequence[MeasuredRun],
    known: Mapping[tuple[str, str], Pair],
    folder: Path,
) -> list[Pair]:
    """Compare counterparts of every two runs that can be compared, both ways, taking over what `known` holds.

    `folder` is the report's folder.
    """
    loaded = OpenedDictionaries({run.prefix + path: run.run.path / path for run in runs for path in _paths(run)})
    latents = {
        run.prefix + path: found for run in runs for path, found in read_latents(run.run.report / "latents.h5").items()
    }
    scores = []
    for number, first in enumerate(runs):
        held_out = open_evaluation(first.config, run_tokens(first.config))
        comparisons = Comparisons(held_out, Stages(held_out.sample), loaded, latents, known, {}, folder)
        for second in runs[number + 1 :]:
            if why_not_paired(second, first) is None:
                pairs = counterparts(trained(first.dictionaries()), trained(second.dictionaries()))
                scores += [score for pair in pairs for score in comparisons.of_pair(*pair)]
    return scores


def _paths(run: MeasuredRun) -> list[str]:
    return [entry["path"] for entry in run.metrics["dictionaries"]]
