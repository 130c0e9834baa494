"""Measured rows are kept: read again with the same setup, and made anew with another one."""

import dataclasses
import math
from pathlib import Path

import pytest

from bench.quality.plan import Cell, Setup
from bench.quality.rows import Quality, read_rows, write_row

SETUP = Setup(activations="there", hook="hook", rows=100, batch_rows=10, n_latents=8, held_out_rows=5)
CELL = Cell("winnow", "relu", 1.5, 4e-3, 2)
QUALITY = Quality(0.25, 24.5, 0.125)


def test_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_row(tmp_path, SETUP, CELL, QUALITY, "version", 1.0)
    other = CELL._replace(seed=1)
    assert read_rows(tmp_path, SETUP, [CELL, other]) == {CELL: QUALITY}


@pytest.mark.parametrize("changed", [{"rows": 200}, {"n_latents": 16}, {"hook": "other"}, {"held_out_rows": 6}])
def test_row_of_another_setup_does_not_count(tmp_path: Path, changed: dict[str, object]) -> None:
    write_row(tmp_path, SETUP, CELL, QUALITY, "version", 1.0)
    assert read_rows(tmp_path, dataclasses.replace(SETUP, **changed), [CELL]) == {}


def test_diverged_training_is_kept_too(tmp_path: Path) -> None:
    write_row(tmp_path, SETUP, CELL, Quality(math.nan, math.nan, math.nan), "version", 1.0)
    assert "NaN" not in (tmp_path / f"{CELL.name}.json").read_text()
    assert math.isnan(read_rows(tmp_path, SETUP, [CELL])[CELL].fvu)


def test_half_written_row_does_not_count(tmp_path: Path) -> None:
    """A kill leaves it under another name."""
    (tmp_path / f"{CELL.name}.json.partial").write_text('{"cell"')
    assert read_rows(tmp_path, SETUP, [CELL]) == {}
