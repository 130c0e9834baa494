"""How learning rate and sparsity penalty go over a training, both linear in rows."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Rise over the first share `warmup` of the rows, fall to zero over the last share `decay`."""

    rows: int
    warmup: float
    decay: float

    def rate(self, start: int, stop: int) -> float:
        """Give the factor on the learning rate for the step that takes rows [start, stop)."""
        remaining = (self.rows - start) / self.rows
        fall = min(1.0, remaining / self.decay) if self.decay else 1.0
        return self.penalty(stop) * fall

    def penalty(self, stop: int) -> float:
        """Give the factor on the sparsity penalty for the step that ends with row `stop`."""
        return min(1.0, stop / (self.rows * self.warmup)) if self.warmup else 1.0
