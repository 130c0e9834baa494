"""Open a run's held-out sequences, the model that reads them, and a sample of their activations.

The last `text.held_out_sequences` of the tokens were never harvested. The model is opened when something
asks for it, and once.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.evaluation.evaluate import Evaluation, evaluate
from analyze.evaluation.rows import SAMPLE, EvaluationRows
from winnow.config.command_line import load_experiment
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, open_model
from winnow.paths import expand
from winnow.positions import kept_positions, position_policy
from winnow.runtime.progress import progress_bar
from winnow.runtime.run import Run
from winnow.tokens import TokenFile, open_tokens


class HeldOutText(EvaluationRows):
    """Evaluation rows from held-out text."""

    def __init__(self, config: Experiment, tokens: TokenFile) -> None:
        super().__init__(config)
        first = tokens.sequences - config.held_out
        stored = tokens.read(first, tokens.sequences)
        self.tokens: Int[Tensor, "sequence context"] = torch.from_numpy(stored)
        self.kept: Bool[Tensor, "sequence context"] = torch.from_numpy(
            kept_positions(position_policy(config), stored, first, config.seed)
        )
        if not self.kept.any():
            raise UserError(
                f"harvest.positions: drop_tokens and skip_first leave no position of the {len(stored)} held-out "
                f"sequences in {tokens.path}; drop fewer tokens in a new run"
            )

    @classmethod
    def open(cls, run: str | Path) -> "HeldOutText":
        """Open the held-out text of a run by its folder, such as `runs/demo`.

        A relative model path is resolved from the working directory. Raises `UserError` if there is no such run, or
        if its text or activations are missing.
        """
        run = expand(run)
        config = load_experiment("", ["--config", str(run / "config.toml"), "--run", str(run)])
        return cls(config, open_tokens(Run(run).tokens))

    @property
    def sequences(self) -> int:
        """Number of held-out sequences."""
        return len(self.tokens)

    @property
    def rows(self) -> int:
        """Number of kept positions over all held-out sequences."""
        return int(self.kept.sum())

    @cached_property
    def model(self) -> LanguageModel:
        """Open the model. Raises `UserError` if its weights differ from the harvested model's."""
        made = self.store.manifest["model"]
        model = open_model(self.config.model, begun_with=made)
        model.refuse_other_weights(self.store.path, made)
        if model.reads_ahead:  # a run of an older version; a harvest now refuses
            print(
                f"{self.config.model.name}: what it computes at a token depends on later ones, so its loss, and how "
                "much of it a dictionary recovers, say nothing",
                file=sys.stderr,
            )
        return model

    def _sample(self, hook: str) -> Float[Tensor, "row width"]:
        per_sequence = max(1, self.rows // len(self.tokens))
        count = min(len(self.tokens), max(1, SAMPLE // per_sequence))
        chosen = torch.from_numpy(np.linspace(0, len(self.tokens) - 1, count).round().astype(np.int64))
        parts = []
        for batch in chosen.split(self.config.harvest.sequences_per_batch):
            seen = self.model.activations(self.tokens[batch].to(self.model.device), [hook])[hook]
            parts.append(seen.cpu()[self.kept[batch]].float())
        return torch.cat(parts)

    def token_texts(self, tokens: Sequence[int]) -> list[str]:
        """Decode tokens one by one with the model's tokenizer."""
        tokenizer: Any = self.model.bridge.tokenizer if tokens else None
        return [tokenizer.decode([token]) for token in tokens]

    def measure(
        self, dictionaries: Sequence[Dictionary], centres: Mapping[str, Float[Tensor, " width"]]
    ) -> list[Evaluation]:
        """Measure each dictionary's quality on all rows, and how much of the model's loss it recovers."""
        model, context = self.model, self.tokens.shape[1]
        for dictionary in dictionaries:
            dictionary.to(model.device)
        there = {hook: centre.to(model.device) for hook, centre in centres.items()}
        with progress_bar("analyze", self.tokens.numel(), "tokens") as bar:
            advance: Callable[[int], None] = lambda sequences: bar.advance(sequences * context)  # noqa: E731
            limits = self.norm_limits(dictionaries)
            measured = evaluate(model, self.tokens, self.kept, dictionaries, there, advance, None, limits)
        for dictionary in dictionaries:
            dictionary.cpu()
        return measured
