"""The held-out sequences of a run, the model that reads them, and a sample of their activations.

The last `analyze.evaluation_sequences` of the tokens were never harvested. The model is opened when something
asks for it, and once.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.inputs import position_policy
from harvest.model import LanguageModel, open_model
from harvest.positions import kept_positions
from winnow.command_line import load_experiment
from winnow.config import Experiment
from winnow.errors import refuse_changed
from winnow.run import Run
from winnow.store import ActivationStore
from winnow.tokens import TokenFile, open_tokens

SAMPLE = 16_384  # rows on which dictionaries are compared latent by latent


class HeldOut:
    """What every measurement on held-out text starts from."""

    def __init__(self, config: Experiment, tokens: TokenFile) -> None:
        self.config = config
        first = tokens.sequences - config.analyze.evaluation_sequences
        stored = tokens.read(first, tokens.sequences)
        self.tokens: Int[Tensor, "sequence context"] = torch.from_numpy(stored)
        self.kept: Bool[Tensor, "sequence context"] = torch.from_numpy(
            kept_positions(position_policy(config), stored, first, config.seed)
        )
        self.store = ActivationStore(Run(Path(config.run)).activations)
        self._samples: dict[str, Tensor] = {}

    @classmethod
    def open(cls, run: str | Path) -> "HeldOut":
        """Open the held-out text of a run by its folder, as `runs/demo`; the model's path counts from here.

        Raises `UserError` where there is no such run, or its text or activations are not made yet.
        """
        config = load_experiment("", ["--config", str(Path(run) / "config.toml"), "--run", str(run)])
        return cls(config, open_tokens(Run(Path(run)).tokens))

    @property
    def rows(self) -> int:
        """Positions that are kept, over all held-out sequences."""
        return int(self.kept.sum())

    @cached_property
    def model(self) -> LanguageModel:
        """Open the model. Raises `UserError` where its weights are not those that were harvested."""
        model = open_model(self.config.model)
        name = "weights_sha256 of the model"
        made = self.store.manifest["model"]["weights_sha256"]
        refuse_changed(self.store.path, {name: made}, {name: model.weight_hash})
        return model

    def sample(self, hook: str) -> Float[Tensor, "row width"]:
        """Compute at most `SAMPLE` rows of a hook, from sequences spread evenly; on the CPU, in float32."""
        if hook not in self._samples:
            per_sequence = max(1, self.rows // len(self.tokens))
            count = min(len(self.tokens), max(1, SAMPLE // per_sequence))
            chosen = torch.from_numpy(np.linspace(0, len(self.tokens) - 1, count).round().astype(np.int64))
            parts = []
            for batch in chosen.split(self.config.harvest.sequences_per_batch):
                seen = self.model.activations(self.tokens[batch].to(self.model.device), [hook])[hook]
                parts.append(seen.cpu()[self.kept[batch]].float())
            self._samples[hook] = torch.cat(parts)
        return self._samples[hook]
