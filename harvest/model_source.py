"""Rows from a language model: its activations at the kept positions, one forward pass for all hooks."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.model.files import files_hash
from winnow.model.forward import Forward, forward_passes
from winnow.model.hooks import left_out, resolve_hooks
from winnow.model.language_model import LanguageModel, open_model
from winnow.positions import kept_positions, most_per_sequence, position_policy
from winnow.runtime.device import to_device
from winnow.runtime.ranks import Ranks
from winnow.shards.layout import RowIndex
from winnow.tokens import TokenFile


@contextmanager
def open_model_source(config: Experiment, tokens: TokenFile, ranks: Ranks) -> Iterator["ModelSource"]:
    """Open the model, and yield the source of its activations for `tokens` at the configured hooks."""
    model = open_model(config.model, ranks, tokens.model)
    model.refuse_reading_ahead(config.model.name)
    hooks = resolve_hooks(config.harvest.hooks, model.hooks, model.refused)
    if ranks.rank == 0:
        for line in left_out(config.harvest.hooks, model.refused):
            print(line, file=sys.stderr)
    if tokens.context > model.context:
        raise UserError(
            f"text.context = {tokens.context}: {config.model.name} reads {model.context} tokens at most; "
            "set text.context in a new run"
        )
    _refuse_unknown_tokens(config.model.name, tokens, model.d_vocab)
    compile_for = config.harvest.sequences_per_batch if config.harvest.compile else None
    with forward_passes(model, hooks, compile_for) as forward:
        yield ModelSource(config, tokens, model, forward, model.widths(hooks))


class ModelSource:
    """The activations of the hooks that `forward` computes; implements `harvest.source.RowSource`."""

    unit = "tokens"
    shards_at_once = 1

    def __init__(
        self, config: Experiment, tokens: TokenFile, model: LanguageModel, forward: Forward, width: Mapping[str, int]
    ) -> None:
        self.device = forward.device
        self.width = width
        self.context = tokens.context
        self.policy = position_policy(config)
        self.most_rows = most_per_sequence(self.policy, tokens.context)
        self._config = config
        self._tokens = tokens
        self._model = model
        self._forward = forward

    def manifest(self) -> dict[str, Any]:
        """Return the model with the hash of its weights, the tokens with their fingerprint, and the position policy."""
        model, tokens = self._config.model, self._tokens
        files = "" if self._model.commit else files_hash(Path(self._config.run), Path(model.name))
        return {
            "model": {
                "name": model.name,
                "revision": model.revision,
                "commit": self._model.commit,
                "dtype": model.dtype,
                "weights_sha256": self._model.weight_hash,
                "config_sha256": self._model.config_hash,
                **({"files_sha256": files} if files else {}),
            },
            "tokenizer": tokens.tokenizer,
            "text": tokens.text,
            "text_commit": tokens.text_commit,
            "tokens": {
                "fingerprint": tokens.fingerprint,
                "sequences": tokens.sequences - self._config.held_out,
                "bos": tokens.bos,
            },
            "positions": self.policy.model_dump(mode="json"),
        }

    def refuse_other(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Raise `UserError` if the shards in `folder` were made with other weights."""
        self._model.refuse_other_weights(folder, manifest["model"])

    def why_not_finite(self) -> str:
        """Say which weight or compute dtype makes values that are no finite numbers, and what helps."""
        dtype, model = self._config.model.dtype, self._config.model.name
        wider = "bfloat16 or float32" if dtype == "float16" else "float32"
        for name, weight in self._model.plain.state_dict().items():
            if not weight.is_floating_point() or bool(weight.isfinite().all()):
                continue
            if dtype == "float32" or bool(weight.isnan().any()):
                return f"{name} of {model} holds numbers that are not finite; get its files again"
            return f"{name} of {model} is too large for model.dtype = {dtype}; set that to {wider} in a new run"
        if dtype != "float32":
            return f"{model} overflows in model.dtype = {dtype}; set that to {wider} in a new run"
        return (
            f"{model} overflows there in float32, though its weights are finite; harvest hooks before that one in a "
            "new run, or another model"
        )

    def index(self, start: int, stop: int) -> RowIndex:
        """Return the kept positions of sequences [start, stop), and the tokens there."""
        sequences = self._tokens.read(start, stop)
        kept = kept_positions(self.policy, sequences, start, self._config.seed)
        sequence, position = np.nonzero(kept)
        columns = (sequence + start, position, sequences[kept])
        return RowIndex(*(torch.from_numpy(column.astype(np.int32)) for column in columns))

    def rows(self, start: int, stop: int, index: RowIndex) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield the number of tokens and the rows of each batch of sequences [start, stop)."""
        batch = self._config.harvest.sequences_per_batch
        places = (index.sequence.long() - start) * self.context + index.position.long()  # ascending
        bounds = torch.searchsorted(places, torch.arange(0, stop - start + batch, batch) * self.context)
        batches = torch.from_numpy(self._tokens.read(start, stop)).split(batch)
        for i, seen in enumerate(self._forward(batches)):
            chosen = places[bounds[i] : bounds[i + 1]] - i * batch * self.context
            if len(chosen) < batches[i].numel():
                chosen = to_device(chosen, self.device)  # once for all hooks
            yield batches[i].numel(), {hook: _select(value, chosen) for hook, value in seen.items()}


def _refuse_unknown_tokens(model: str, tokens: TokenFile, known: int) -> None:
    """Raise `UserError` naming the first token that the model's embedding does not have."""
    for start, block in tokens.blocks():
        unknown = np.argwhere((block < 0) | (block >= known))
        if len(unknown):
            sequence, position = unknown[0].tolist()
            raise UserError(
                f"{tokens.path}: token {block[sequence, position]} (sequence {start + sequence}, position {position}) "
                f"is none of the {known:,} of {model}; are these the ids of another model's tokenizer?"
            )


def _select(value: Tensor, chosen: Tensor) -> Tensor:
    """Take the rows of [sequence, context, width] at the indices `chosen`; copy nothing if they are all chosen."""
    flat = value.flatten(0, 1)
    return flat if len(chosen) == len(flat) else flat.index_select(0, chosen)
