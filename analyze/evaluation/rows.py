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
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary
from winnow.runtime.run import Run
from winnow.store import ActivationStore

SAMPLE = 16_384  # most rows on which dictionaries are compared latent by latent


class EvaluationRows(ABC):
    """The rows on which dictionaries are measured."""

    def __init__(self, config: Experiment) -> None:
        self.config = config
        self.store = ActivationStore(Run(Path(config.run)).activations)
        self._samples: dict[str, Tensor] = {}

    @property
    @abstractmethod
    def sequences(self) -> int:
        """Number of sequences that the rows come from."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows."""

    def sample(self, hook: str) -> Float[Tensor, "row width"]:
        """Compute at most `SAMPLE` rows of a hook, from evenly spaced sequences; on the CPU, in float32."""
        if hook not in self._samples:
            self._samples[hook] = self._sample(hook)
        return self._samples[hook]

    @abstractmethod
    def _sample(self, hook: str) -> Float[Tensor, "row width"]: ...

    @abstractmethod
    def measure(
        self, dictionaries: Sequence[Dictionary], centres: Mapping[str, Float[Tensor, " width"]]
    ) -> list[Evaluation]:
        """Measure each dictionary on all rows; `centres` holds each hook's mean activation."""
