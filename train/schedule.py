"""Learning rate and sparsity penalty over a training, both piecewise linear in rows."""

from dataclasses import dataclass, replace

from train.settings import DictionarySettings

CONVERGED = "converged"  # instead of a number of rows: as many as the rule in train/convergence.py asks for
DEAD_AFTER_ROWS = 10_000_000  # Gao et al. 2024
OCTAVES = 6  # doublings of rows from the rule's first evaluation point to its last


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Rise over the first `warmup_rows`, fall to zero over the last share `decay` of `rows`."""

    rows: int
    warmup_rows: float
    decay: float

    @property
    def falls_from(self) -> float:
        """The row at which the rate begins to fall."""
        return self.rows * (1 - self.decay)

    def rate(self, start: int, stop: int) -> float:
        """Return the factor on the learning rate for the step that takes rows [start, stop)."""
        remaining = (self.rows - start) / self.rows
        fall = min(1.0, remaining / self.decay) if self.decay else 1.0
        return self.penalty(stop) * fall

    def penalty(self, stop: int) -> float:
        """Return the factor on the sparsity penalty for the step that ends with row `stop`."""
        return min(1.0, stop / self.warmup_rows) if self.warmup_rows else 1.0

    def ending(self, rows: int) -> "Schedule":
        """Return the schedule whose rate is zero at `rows`."""
        return replace(self, rows=rows)


def schedule_of(settings: DictionarySettings) -> Schedule:
    """Compose the schedule that a dictionary starts with; if its end is open, that with the latest possible end.

    The warm-up is a share of the fewest rows that the rule can end with, so that a ceiling that is never reached does
    not make it longer.
    """
    rows = most_rows(settings)
    return Schedule(rows=rows, warmup_rows=settings.warmup * fewest_rows(settings), decay=settings.decay)


def most_rows(settings: DictionarySettings) -> int:
    """Return the most rows that a dictionary sees."""
    if settings.rows != CONVERGED:
        return settings.rows
    assert settings.max_rows is not None, settings
    return settings.max_rows


def fewest_rows(settings: DictionarySettings) -> float:
    """Return the fewest rows that a dictionary sees: the rule needs two points, one at twice the rows of the other."""
    return most_rows(settings) * (2.0 ** (1 - OCTAVES) if settings.rows == CONVERGED else 1.0)


def dead_after(settings: DictionarySettings, rows: int) -> int:
    """Return how many silent rows make a latent dead: 10 M, or, if less, a tenth of the training as far as known."""
    return min(DEAD_AFTER_ROWS, max(int(fewest_rows(settings)), rows) // 10)


def rows_at_end(rows: int, decay: float, batch_rows: int) -> int:
    """Return the end of a training whose rate falls from `rows`, over the share `decay` of it, in whole batches."""
    return rows + -(-round(rows * decay / (1 - decay)) // batch_rows) * batch_rows
