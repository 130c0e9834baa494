"""The source of a harvest's rows: a model that reads tokens, or the generator of toy data.

A shard holds the rows of some sequences; it is a pure function of the source and the numbers of the sequences.
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
    """Computes the rows of every hook, sequence by sequence."""

    device: torch.device
    width: Mapping[str, int]  # hook -> width
    context: int  # positions per sequence
    most_rows: int  # per sequence
    unit: str  # of the numbers that `rows` yields, for the progress bar
    shards_at_once: int  # shards that take turns: more than one if rows come faster than one thread writes them

    def manifest(self) -> dict[str, Any]:
        """Return the fields of the manifest that say what makes the rows."""
        ...

    def refuse_other(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Raise `UserError` if the shards in `folder`, according to their manifest, come from another source."""
        ...

    def why_not_finite(self) -> str:
        """Say where a value that is no finite number comes from, and what helps."""
        ...

    def index(self, start: int, stop: int) -> RowIndex:
        """Return sequence, position and token of the rows of sequences [start, stop)."""
        ...

    def rows(self, start: int, stop: int, index: RowIndex) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield for each batch its number of units and its rows [row, width] of every hook, in the order of `index`."""
        ...


def open_source(config: Experiment, tokens: TokenFile | None, ranks: Ranks) -> AbstractContextManager[RowSource]:
    """Open the configured source: the model, which reads `tokens`, or the toy data (`tokens` is None).

    Raises `UserError` if it cannot be opened, or lacks a hook that is asked for.
    """
    if config.toy is not None:
        from harvest.toy_source import open_toy_source

        return open_toy_source(config.toy, Run(Path(config.run)).truth)
    from harvest.model_source import (
        open_model_source,
    )  # importing takes seconds, and toy data do not need it

    assert tokens is not None
    return open_model_source(config, tokens, ranks)
