"""Define the interface of evaluation rows, which come from held-out text or from toy data beyond the stored rows.

rows = open_evaluation(config, tokens)        # analyze/evaluation/open.py
rows.sample("blocks.2.hook_resid_post")       # float32 [row, width]
rows.measure(dictionaries, centres)           # quality and loss of each
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from analyze.evaluation.evaluate import Evaluation
from analyze.evaluation.massive import is_massive
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary
from winnow.errors import UserError
from winnow.massive.kept import KeptRows, kept_rows
from winnow.runtime.run import Run
from winnow.store import ActivationStore

SAMPLE = 16_384  # most rows on which dictionaries are compared latent by latent


class EvaluationRows(ABC):
    """The rows on which dictionaries are measured."""

    def __init__(self, config: Experiment) -> None:
        self.config = config
        self.store = ActivationStore(Run(Path(config.run)).activations)
        self._samples: dict[str, Tensor] = {}
        self._harvested: dict[str, KeptRows] = {}

    @property
    @abstractmethod
    def sequences(self) -> int:
        """Number of sequences that the rows come from."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows."""

    def sample(self, hook: str) -> Float[Tensor, "row width"]:
        """Compute at most `SAMPLE` rows of a hook, from evenly spaced sequences; on the CPU, in float32.

        Massive rows are not among them, unless they are taken in.
        """
        if hook not in self._samples:
            rows = self._sample(hook)
            massive = is_massive(rows, self.harvested(hook).limit)
            if massive is not None and bool(massive.all()):
                raise UserError(
                    f"massive_norm = {self.config.massive_norm:g}: all {len(rows)} held-out rows at {hook} are "
                    f"massive, so there is none to measure on; raise it, or {self.config.held_out_key}, in a new run"
                )
            self._samples[hook] = rows if massive is None else rows[~massive]
        return self._samples[hook]

    @abstractmethod
    def _sample(self, hook: str) -> Float[Tensor, "row width"]: ...

    def harvested(self, hook: str) -> KeptRows:
        """Open the harvested rows of a hook, without the massive ones unless they are taken in."""
        if hook not in self._harvested:
            self._harvested[hook] = kept_rows(self.store, hook, self.config.massive_norm)
        return self._harvested[hook]

    def token_texts(self, tokens: Sequence[int]) -> list[str]:
        """Return the texts of tokens; toy data have none."""
        return []

    def norm_limits(self, dictionaries: Sequence[Dictionary]) -> dict[str, float]:
        """List the norms above which rows are massive, by the dictionaries' hooks."""
        return {dictionary.hook: self.harvested(dictionary.hook).limit for dictionary in dictionaries}

    @abstractmethod
    def measure(
        self, dictionaries: Sequence[Dictionary], centres: Mapping[str, Float[Tensor, " width"]]
    ) -> list[Evaluation]:
        """Measure each dictionary on all rows; `centres` holds each hook's mean activation."""
