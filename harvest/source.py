"""What the rows of a harvest come from: a model that reads tokens, or the generator of toy data.

A shard holds the rows of some sequences, and is a pure function of its source and of their numbers.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from winnow.config.experiment import Experiment
from winnow.runtime.ranks import Ranks
from winnow.runtime.run import Run
from winnow.shards.layout import RowIndex
from winnow.tokens import TokenFile


@runtime_checkable
class RowSource(Protocol):
    """Gives the rows of every hook, sequence by sequence."""

    device: torch.device
    width: Mapping[str, int]  # of each hook
    context: int  # positions of a sequence
    most_rows: int  # of a sequence
    unit: str  # what `rows` counts, for the progress bar
    shards_at_once: int  # that take turns: more than one where rows come faster than one thread writes them

    def manifest(self) -> dict[str, Any]:
        """Say what makes the rows, as the store's manifest has it."""
        ...

    def refuse_other(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Raise `UserError` where the shards in `folder` were made from other weights, as their manifest says."""
        ...

    def index(self, start: int, stop: int) -> RowIndex:
        """Say which positions of sequences [start, stop) are rows."""
        ...

    def rows(self, start: int, stop: int, index: RowIndex) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield the rows [row, width] of every hook in the order of `index`, and how many units they come from."""
        ...


def open_source(config: Experiment, tokens: TokenFile | None, ranks: Ranks) -> AbstractContextManager[RowSource]:
    """Open what the configuration names: the model, to read `tokens`, or the toy data, which have none.

    Raises `UserError` where it cannot be opened, or has not what is asked for.
    """
    if config.toy is not None:
        from harvest.toy_source import open_toy_source

        return open_toy_source(config.toy, Run(Path(config.run)).truth)
    from harvest.model_source import open_model_source  # transformer-lens takes seconds, and toy data need it not

    assert tokens is not None
    return open_model_source(config, tokens, ranks)
