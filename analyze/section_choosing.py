"""Choosing size and sparsity: heat maps over the grid of both, with the axes' real values."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.chart import Chart, HeatMap, Number
from analyze.section import count, percent, significant
from analyze.section_ladder import ladder_of

Grid = Mapping[str, Any]
MAPS = (  # key, title, whether a share, the highest value (None: the highest in the grid)
    ("mmcs_next_corrected", "Corrected MMCS with the next larger size", False, 1),
    ("fvu", "FVU", False, 1),
    ("l0", "L0 (latents active per row)", False, None),
    ("dead_fraction", "Dead latents", True, 1),
)
STICKY = (
    ("mse_by_size", "|∂ log squared error / ∂ log size|"),
    ("mse_by_sparsity", "|∂ log squared error / ∂ log sparsity|"),
    ("l1_by_size", "|∂ log L1 / ∂ log size|"),
    ("l1_by_sparsity", "|∂ log L1 / ∂ log sparsity|"),
)


def choosing_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """Make two charts per grid that has several sparsities and several sizes."""
    grids = [g for g in metrics.get("choosing") or [] if len(g["sparsities"]) > 1 and len(g["sizes"]) > 1]
    return [*map(_choosing, range(len(grids)), grids), *(c for c in map(_sticky, range(len(grids)), grids) if c.panels)]


def _choosing(number: int, grid: Grid) -> Chart:
    return Chart(
        name=f"choosing-{number:02d}",
        title="Choosing size and sparsity",
        how_to_read=(
            "Rows are sizes, columns sparsity: where the agreement with the next larger size is highest and hardly a "
            "latent is dead, what was found depends least on the choice; weigh it against the FVU at that L0."
        ),
        panels=tuple(
            _heat_map(grid, title, grid[key], share, highest)
            for key, title, share, highest in MAPS
            if _known(grid.get(key))
        ),
        family="choosing",
        choice=_label(grid),
    )


def _sticky(number: int, grid: Grid) -> Chart:
    sticky = grid.get("stickiness") or {}
    return Chart(
        name=f"stickiness-{number:02d}",
        title="Loss stickiness (deprecated by its authors)",
        how_to_read=(
            "How strongly each part of the loss still responds to size and to sparsity; low values were once read as "
            "the right choice, which its authors no longer recommend: it is here for comparison with what they "
            "published."
        ),
        panels=tuple(
            _heat_map(grid, title, sticky[key], False, None) for key, title in STICKY if _known(sticky.get(key))
        ),
        family="stickiness",
        choice=_label(grid),
    )


def _heat_map(
    grid: Grid, title: str, table: Sequence[Sequence[Number | None]], share: bool, highest: Number | None
) -> HeatMap:
    top = highest if highest is not None else max((v for row in table for v in row if v is not None), default=1)
    return HeatMap(
        title=title,
        x=grid["sparsity"],
        y="latents",
        columns=tuple(f"{value:g}" for value in grid["sparsities"]),
        rows=tuple(map(count, grid["sizes"])),
        values=tuple(map(tuple, table)),
        notes=tuple(
            tuple("" if v is None else percent(v) if share else significant(v, 2) for v in row) for row in table
        ),
        range=(0, top or 1),
    )


def _known(table: Sequence[Sequence[Number | None]] | None) -> bool:
    return any(value is not None for row in table or [] for value in row)


def _label(grid: Grid) -> str:
    ladder = ladder_of({**grid, "sparsity": {}})
    return ladder.label
