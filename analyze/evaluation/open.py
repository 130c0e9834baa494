"""Open the evaluation rows of a run: held-out text, or toy data behind the store."""

from analyze.evaluation.rows import EvaluationRows
from winnow.config.experiment import Experiment
from winnow.tokens import TokenFile


def open_evaluation(config: Experiment, tokens: TokenFile | None) -> EvaluationRows:
    """Open the evaluation rows of a run; pass `tokens=None` for toy data."""
    if tokens is None:
        from analyze.evaluation.toy import ToyHeldOut

        return ToyHeldOut(config)
    from analyze.evaluation.text import HeldOutText  # importing transformer-lens takes seconds; toy data do not need it

    return HeldOutText(config, tokens)
