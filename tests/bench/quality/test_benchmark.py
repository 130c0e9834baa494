"""The benchmark with winnow alone: it measures what is asked for, goes on where it was, and says why it cannot."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from bench.quality.__main__ import measure_scope
from bench.quality.data import Batches, measure
from bench.quality.plan import Cell, Scope, Setup, cells
from bench.quality.results import match_all
from tests.stores import planted, write_store
from tests.train.experiments import HOOK
from winnow.dictionary import Dictionary
from winnow.errors import UserError

pytestmark = pytest.mark.bench

SCOPE = Scope(trainers=("winnow",), architectures=("relu", "topk"), seeds=(0,), few=True)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    x, _ = planted(3000, 16, 40, 3)
    x[:, 0] = torch.arange(3000) / 1000  # tells rows apart
    write_store(tmp_path / "activations", {HOOK: x + 1})
    return Setup(
        activations=str(tmp_path / "activations"),
        hook=HOOK,
        rows=1100,
        batch_rows=250,
        n_latents=64,
        held_out_rows=500,
    )


def test_measures_every_cell_and_goes_on_where_it_was(setup: Setup, tmp_path: Path) -> None:
    measured = measure_scope(tmp_path, setup, SCOPE, apart=False)
    assert set(measured) == set(cells(SCOPE))
    assert all(0 < quality.fvu < math.inf for quality in measured.values())
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}
    assert len(files) == len(measured)
    lost = min(files)
    lost.unlink()
    again = measure_scope(tmp_path, setup, SCOPE, apart=False)
    assert {cell: q.fvu for cell, q in again.items()} == pytest.approx(
        {cell: q.fvu for cell, q in measured.items()}, rel=1e-3
    )  # trained alone, in place of in a stack, to rounding
    assert [path for path, made in files.items() if path.stat().st_mtime_ns != made] == [lost]
    assert {path.name for path in tmp_path.iterdir()} == {"activations", "rows"}  # dictionaries are not kept
    assert match_all(measured)["winnow", "topk", 12].rate in {cell.rate for cell in measured}


def test_trainer_that_fails_says_why(setup: Setup, tmp_path: Path) -> None:
    other = dataclasses.replace(setup, hook="blocks.1.hook_resid_post")
    with pytest.raises(UserError, match=r"winnow, relu, seed 0 stopped:\n(.|\n)*no hook blocks.1.hook_resid_post"):
        measure_scope(tmp_path, other, dataclasses.replace(SCOPE, architectures=("relu",)))


def test_batches_are_whole_alike_each_time_and_apart_from_held_out_rows(setup: Setup) -> None:
    batches = Batches(setup)
    first = list(batches)
    assert [len(batch) for batch in first] == [250] * 4 == [250] * len(batches)
    for batch in batches:
        batch.zero_()  # a trainer may scale in place
    assert all(torch.equal(one, two) for one, two in zip(first, batches, strict=True))
    assert len(batches.held_out) >= 500
    assert not torch.isin(torch.cat(first)[:, 0], batches.held_out[:, 0]).any()


def test_measure_agrees_with_closed_forms() -> None:
    """FVU of the mean is 1, of the rows themselves 0; L0 and the silent share are counted."""
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    eye, none = torch.eye(2), torch.zeros(2)
    exact = measure(Dictionary(eye, none, eye, none), x)
    assert exact == (0.0, 1.0, 0.0)
    mean = measure(Dictionary(torch.zeros(2, 2), none, eye, x.mean(0)), x)
    assert mean.fvu == pytest.approx(1)
    assert mean[1:] == (0.0, 1.0)


def test_name_tells_cells_apart() -> None:
    cell = Cell("winnow", "relu", 1.5, 4e-3, 0)
    assert len({cell.name, *(cell._replace(**{f: 9}).name for f in ("sparsity", "rate", "seed"))}) == 4
