"""The rows that every trainer gets, in the same batches and order, and the measure on rows that none gets."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from bench.quality.plan import Setup
from bench.quality.rows import Quality
from train.evaluation import first_held_out
from train.loader import Loader
from winnow.dictionary import Dictionary
from winnow.store import ActivationStore

ORDER_SEED = 0  # an experiment's own default
WINDOW_BYTES = 512 * 2**20  # of the train stage's default
PART = 4096  # rows measured at a time


class Batches:
    """The rows as stored, in whole batches; iterating again starts anew. Each batch is the reader's own, in float32."""

    def __init__(self, setup: Setup) -> None:
        store = ActivationStore(Path(setup.activations))
        self.setup = setup
        self.mean_norm = store.statistics(setup.hook).mean_norm
        self.d_model = store.hooks[setup.hook]
        trained = first_held_out(store, setup.held_out_rows)
        loader = Loader(store, setup.hook, ORDER_SEED, WINDOW_BYTES, trained)
        self._batches = list(loader.batches(0, setup.steps * setup.batch_rows, setup.batch_rows))
        self.held_out = store.read(setup.hook, trained, store.rows).float()  # [row, d]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Float[Tensor, "row d"]]:
        for batch in self._batches:
            yield batch.to(torch.float32, copy=True)


@torch.no_grad()
def measure(dictionary: Dictionary, x: Float[Tensor, "row d"]) -> Quality:
    """Measure FVU (of the variance around the rows' own mean), L0 and the share of latents that never fire."""
    error, active = 0.0, torch.zeros(dictionary.n_latents, dtype=torch.float64)
    for part in x.split(PART):
        f = dictionary.encode(part)
        active += (f > 0).sum(0)
        error += float((dictionary.decode(f) - part).double().square().sum())
    variance = float((x - x.mean(0)).double().square().sum())
    fvu = error / variance
    return Quality(
        fvu if math.isfinite(fvu) else math.nan, float(active.sum()) / len(x), float((active == 0).double().mean())
    )
