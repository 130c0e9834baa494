"""Hooks on which no dictionary can be trained: training leaves them out, and the report says so."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analyze.schema.record import measured
from winnow.shards.statistics import why_untrainable


def untrainable_words(hooks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say at which hooks nothing can be trained, and why."""
    lines = []
    for hook in hooks:
        mean, variance, norm = (measured(hook, key) for key in ("mean", "variance", "mean_norm"))
        if mean is None or variance is None or norm is None or None in mean or None in variance:
            continue
        if reason := why_untrainable(np.array(mean), np.array(variance), norm):
            lines.append(f"{hook['hook']}: {reason}. No dictionary can be trained there: training leaves it out.")
    return lines
