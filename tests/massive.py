"""Rows of planted features with two massive ones among 10,000, and stores with and without them."""

import json
from pathlib import Path

import torch
from torch import Tensor

from tests.stores import planted, write_store
from tests.train.experiments import HOOK
from winnow.store import ActivationStore

ROWS, D = 10_000, 16
MASSIVE = (3000, 7777)
TIMES = 140  # the median norm
DIMENSION = 5


def rows_with_massive(hook_dimension: int = DIMENSION) -> Tensor:
    """Draw the rows; the massive ones lie along one dimension."""
    x, _ = planted(ROWS, D, 40, 3)
    x[list(MASSIVE)] = TIMES * x.norm(dim=1).median() * torch.eye(D)[hook_dimension] + 0.1
    return x


def stores(folder: Path, x: Tensor | None = None) -> tuple[ActivationStore, ActivationStore]:
    """Write the store with the massive rows to `folder`/with, and the one that never held them to `folder`/without."""
    x = rows_with_massive() if x is None else x
    whole = write_store(folder / "with" / "run" / "activations", {HOOK: x})
    less = write_store(folder / "without" / "run" / "activations", {HOOK: x}, dropped=MASSIVE)
    return whole, less


def before_norms(store: ActivationStore) -> ActivationStore:
    """Make a store look as if it had been harvested before norms were kept."""
    path = store.path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["row_norms"]
    path.write_text(json.dumps(manifest))
    return ActivationStore(store.path)
