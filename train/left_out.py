"""Hooks on which nothing can be trained, since their activations do not vary; read without torch.

A dictionary of them would divide by their norm or by their variance. The others of the run are trained.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from train.plan import Planned
from winnow.errors import UserError
from winnow.runtime.hashes import check_file, said_of
from winnow.shards.sidecar import REPAIR
from winnow.shards.statistics import STATISTICS, why_untrainable


def without_left_out(planned: Sequence[Planned], activations: Path) -> list[Planned]:
    """Leave out the dictionaries of hooks whose activations do not vary, unless they are finished, and say so.

    Raises `UserError` where none is left to train.
    """
    hooks = dict.fromkeys(p.hook for p in planned if not p.finished)
    reasons = _reasons(activations / STATISTICS, list(hooks)) if hooks else {}
    kept = [p for p in planned if p.finished or p.hook not in reasons]
    if reasons and not kept:
        listed = ", ".join(f"{hook}: {reason}" for hook, reason in reasons.items())
        raise UserError(f"{activations}: {listed}; there is nothing to train; choose other harvest.hooks in a new run")
    for hook, reason in reasons.items():
        print(f"{hook}: left out of the training; {reason}", file=sys.stderr)
    return kept


def _reasons(path: Path, hooks: Sequence[str]) -> dict[str, str]:
    """Say of each hook that does not vary why it is left out; of none where the harvest is not finished."""
    if not path.exists():
        return {}
    check_file(path, said_of(path), REPAIR)
    reasons = {}
    try:
        with h5py.File(path) as file:
            for hook in hooks:
                mean, m2, norms, rows = (
                    np.asarray(file[f"{hook}/{name}"]) for name in ("mean", "m2", "norm_sum", "rows")
                )
                count = max(1, int(rows[0]))
                reasons[hook] = why_untrainable(mean, m2 / count, float(norms.sum()) / count)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError):
        return {}  # the training reads it again, and names what is wrong
    return {hook: reason for hook, reason in reasons.items() if reason}
