"""Read a model's values, and its predictions, at places in the text: one pass over the sequences that hold them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from polytopes.reading.places import Places
from winnow.model.language_model import LanguageModel, watch
from winnow.tokens import TokenFile

SEQUENCES_AT_ONCE = 32


class Read(NamedTuple):
    """What the model gives at some places."""

    prediction: Int32[Tensor, " row"]  # its most probable next token
    values: dict[str, Tensor]  # by hook, float32 [row, width] on the CPU


def read_tokens(tokens: TokenFile, sequences: Sequence[int] | np.ndarray) -> Int[Tensor, "sequence context"]:
    """Read some sequences, in the order given."""
    with h5py.File(tokens.path) as file:
        stored = file["tokens"]
        rows = [np.asarray(stored[number]) for number in sequences]  # type: ignore[index]
    return torch.from_numpy(np.stack(rows))


@torch.no_grad()
def read_values(
    model: LanguageModel, tokens: TokenFile, places: Places, hooks: Sequence[str]
) -> dict[str, Float[Tensor, "row width"]]:
    """Read the values of hooks; the pass ends at the last of them."""
    parts: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    for batch in _batches(tokens, places):
        seen = model.activations(batch.tokens, hooks)
        for hook in hooks:
            parts[hook].append(batch.select(seen[hook]))
    return {hook: torch.cat(values) for hook, values in parts.items()}


@torch.no_grad()
def read_with_predictions(model: LanguageModel, tokens: TokenFile, places: Places, hooks: Sequence[str]) -> Read:
    """Read values and predictions. The values are those of `read_values` to the bit; hooks must be in `sites`."""
    parts: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    predictions: list[Tensor] = []
    for batch in _batches(tokens, places):
        # logits of a whole sequence would take far longer than the layers of a small model
        positions, column = batch.position.unique(return_inverse=True)

        def keep(hook: str, value: Tensor, batch: _Batch = batch) -> None:
            parts[hook].append(batch.select(value.flatten(2)))

        with ExitStack() as stack:
            for hook in hooks:
                handle = watch(model.plain, model.sites[hook], lambda value, hook=hook: keep(hook, value))
                stack.callback(handle.remove)
            logits = model.plain(
                batch.tokens.to(model.device).long(), use_cache=False, logits_to_keep=positions.to(model.device)
            ).logits
        best = logits.argmax(-1).cpu()
        predictions.append(best[batch.row, column].int())
    return Read(torch.cat(predictions), {hook: torch.cat(values) for hook, values in parts.items()})


class _Batch(NamedTuple):
    """Some sequences, and the places in them."""

    tokens: Tensor  # [sequence, context]
    row: Tensor  # [place], which of the sequences
    position: Tensor  # [place]

    def select(self, value: Tensor) -> Tensor:
        """Take the places of a value [sequence, context, width]."""
        return value[self.row.to(value.device), self.position.to(value.device)].float().cpu()


def _batches(tokens: TokenFile, places: Places) -> Iterator[_Batch]:
    sequence = places.sequence.numpy()
    numbers = np.unique(sequence)
    for start in range(0, len(numbers), SEQUENCES_AT_ONCE):
        batch = numbers[start : start + SEQUENCES_AT_ONCE]
        inside = np.isin(sequence, batch)
        row = torch.from_numpy(np.searchsorted(batch, sequence[inside]))
        yield _Batch(read_tokens(tokens, batch), row, places.position[torch.from_numpy(inside)].long())
