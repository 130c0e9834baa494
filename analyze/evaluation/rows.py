"""The rows that dictionaries are measured on, whatever they come from: held-out text, or toy data behind the store.

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

SAMPLE = 16_384  # rows on which dictionaries are compared latent by latent


class EvaluationRows(ABC):
    """What every measurement starts from."""

    def __init__(self, config: Experiment) -> None:
        self.config = config
        self.store = ActivationStore(Run(Path(config.run)).activations)
        self._samples: dict[str, Tensor] = {}

    @property
    @abstractmethod
    def sequences(self) -> int:
        """How many sequences the rows come from."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows there are."""

    def sample(self, hook: str) -> Float[Tensor, "row width"]:
        """Compute at most `SAMPLE` rows of a hook, from sequences spread evenly; on the CPU, in float32."""
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
