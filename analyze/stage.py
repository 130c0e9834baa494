"""The fourth stage: dictionaries and held-out sequences to `report/metrics.json` and the report.

What earlier runs of the stage measured stays, as long as its inputs are the same: a new dictionary adds to it.
"""

from pathlib import Path

from analyze.compare.latent_table import is_complete, remove_others
from analyze.features.choice import choose, refuse_unknown
from analyze.features.pages import write_features
from analyze.inputs import Inputs, run_tokens
from analyze.report.terminal import print_summary
from analyze.schema.file import read_metrics, write_metrics
from winnow.config.experiment import Experiment
from winnow.runtime.lock import run_lock
from winnow.runtime.run import Run, write_resolved


def measure_run(config: Experiment) -> None:
    """Measure every finished dictionary of a run and write its report, or say that both are up to date.

    Raises `UserError` where a stage before this one has not finished, or ran with other settings.
    """
    run = Run(Path(config.run))
    tokens = run_tokens(config)
    path, page = run.report / "metrics.json", run.report / "index.html"
    with run_lock(run.path):
        inputs = Inputs.of(config, tokens)
        refuse_unknown(config.analyze.features, inputs.dictionaries)
        metrics = read_metrics(path)
        if metrics is None or metrics["inputs"] != inputs._asdict() or not is_complete(metrics, run.report):
            # imported here: a stage that has nothing to do need not wait for torch and transformers
            from analyze.collect.metrics import measure

            run.report.mkdir(exist_ok=True)
            write_resolved(config)
            metrics = measure(config, tokens, inputs, metrics)
            page.unlink(missing_ok=True)  # of other metrics; where it is missing it is written, also after a kill
            write_metrics(metrics, path)
        remove_others(metrics, run.report)
        features = run.report / "features" / "index.html"
        if features.exists() != bool(tokens and choose(config.analyze.features, metrics)):
            page.unlink(missing_ok=True)  # it links there, or it does not
        # toy data have no text to show
        wrote = write_features(config, tokens, inputs, metrics) if tokens else False
        if not wrote and page.exists():
            print(f"{path}: all {len(inputs.dictionaries)} dictionaries are measured; nothing to do")
        if not page.exists():
            from analyze.report.page import write_report

            write_report(metrics, run.report)
        print_summary(metrics, page)
