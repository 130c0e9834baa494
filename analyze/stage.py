"""The fourth stage: dictionaries and held-out sequences to `report/metrics.json` and the report.

What earlier runs of the stage measured stays, as long as its inputs are the same: a new dictionary adds to it.
"""

from pathlib import Path

from analyze.compare.latent_table import is_complete
from analyze.features.choice import choose, refuse_unknown
from analyze.features.pages import write_features
from analyze.inputs import Inputs, run_polytopes, run_tokens
from analyze.schema.record import read_record
from analyze.schema.report import InputHashes, Metrics
from analyze.update import update_report
from winnow.config.experiment import Experiment
from winnow.runtime.lock import run_lock
from winnow.runtime.run import Run, write_resolved


def measure_run(config: Experiment) -> None:
    """Measure every finished dictionary of a run and write its report, or say that both are up to date.

    Raises `UserError` where a stage before this one has not finished, or ran with other settings.
    """
    run = Run(Path(config.run))
    tokens = run_tokens(config)
    with run_lock(run.path):
        polytopes, hashes = run_polytopes(config)
        inputs = Inputs.of(config, tokens, hashes)
        refuse_unknown(config.analyze.features, inputs.dictionaries)

        def measured(before: Metrics | None) -> Metrics:
            if before is not None and _only_polytopes_changed(before, inputs) and _is_whole(before, run.report):
                return before.but(inputs=read_record(InputHashes, inputs._asdict()))
            # imported here: a stage that has nothing to do need not wait for torch and transformers
            from analyze.collect.metrics import measure

            write_resolved(config)
            if tokens is not None:
                tokens.verify()
            return measure(config, tokens, inputs, before)

        def features(metrics: Metrics) -> bool:
            there = (run.report / "features" / "index.html").exists()
            if there != bool(tokens and choose(config.analyze.features, metrics)):
                (run.report / "index.html").unlink(missing_ok=True)  # it links there, or it does not
            # toy data have no text to show
            return write_features(config, tokens, inputs, metrics) if tokens else False

        update_report(run.report, inputs._asdict(), measured, _done, features, polytopes)


def _only_polytopes_changed(before: Metrics, inputs: Inputs) -> bool:
    return isinstance(before.inputs, InputHashes) and before.inputs.but(polytopes=inputs.polytopes) == inputs._asdict()


def _is_whole(before: Metrics, folder: Path) -> bool:
    return is_complete(before, folder) and (folder / "latents.h5").exists()


def _done(metrics: Metrics) -> str:
    return f"all {len(metrics['dictionaries'])} dictionaries are measured"
