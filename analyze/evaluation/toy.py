"""Generate evaluation rows of toy data, which follow the stored rows, and their true codes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.evaluation.evaluate import Evaluation, evaluate_rows
from analyze.evaluation.rows import SAMPLE, EvaluationRows
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary, load_dictionary
from winnow.errors import UserError, refuse_changed
from winnow.runtime.device import choose_device
from winnow.runtime.progress import progress_bar
from winnow.runtime.run import Run
from winnow.toy.data import ToyData, ToyRows
from winnow.toy.truth import directions_hash

BATCH_CELLS = 2**24  # most rows * latents in memory at a time: 64 MiB in float32


class ToyHeldOut(EvaluationRows):
    """Rows [toy.rows, toy.rows + toy.held_out_rows) of the toy data; a sequence is one row."""

    def __init__(self, config: Experiment) -> None:
        super().__init__(config)
        assert config.toy is not None
        self.settings = config.toy

    @property
    def sequences(self) -> int:
        return self.config.held_out

    @property
    def rows(self) -> int:
        return self.sequences

    @cached_property
    def toy(self) -> ToyData:
        """Open the data. Raises `UserError` if the true directions are not those of the stored rows."""
        folder = Run(Path(self.config.run)).truth
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; run make harvest, which writes the true directions")
        toy = ToyData(self.settings, load_dictionary(folder).W_dec.detach())
        name = "directions_sha256 of the toy data"
        made = self.store.manifest["toy"]["directions_sha256"]
        refuse_changed(self.store.path, {name: made}, {name: directions_hash(toy.directions)})
        return toy

    def true_rows(self, start: int = 0, stop: int | None = None) -> ToyRows:
        """Generate evaluation rows [start, stop), by default all, with their true codes."""
        first = self.settings.rows
        return self.toy.rows(first + start, first + (self.rows if stop is None else min(stop, self.rows)))

    def _sample(self, hook: str) -> Float[Tensor, "row width"]:
        return self.true_rows(0, SAMPLE).activations  # rows are identically distributed: the first are as good as any

    @torch.no_grad()
    def measure(
        self, dictionaries: Sequence[Dictionary], centres: Mapping[str, Float[Tensor, " width"]]
    ) -> list[Evaluation]:
        """Measure each dictionary on all rows; there is no model, and so no loss to recover."""
        device = choose_device(self.config.model.device)
        widest = max(dictionary.n_latents for dictionary in dictionaries)
        step = max(1, BATCH_CELLS // widest)
        for dictionary in dictionaries:
            dictionary.to(device)
        with progress_bar("analyze", self.rows, "rows") as bar:

            def batches() -> Iterator[dict[str, Tensor]]:
                for start in range(0, self.rows, step):
                    rows = self.true_rows(start, start + step).activations
                    yield {hook: rows.to(device) for hook in self.store.hooks}
                    bar.advance(len(rows))

            measured = evaluate_rows(
                batches(),
                dictionaries,
                {hook: centre.to(device) for hook, centre in centres.items()},
                self.norm_limits(dictionaries),
            )
        for dictionary in dictionaries:
            dictionary.cpu()
        return measured
