"""Choosing size and sparsity: heat maps over the grid of both, with the axes' real values."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import Number, count, percent, significant
from analyze.ladders import ladder_of
from analyze.report.draw.chart import Chart, HeatMap
from analyze.schema.metric import PERCENT, Metric
from analyze.schema.metrics import (
    GRID_CORRECTED,
    GRID_COSINE,
    GRID_DEAD,
    GRID_FOUND,
    GRID_FVU,
    GRID_L0,
    GRID_L1,
    GRID_LEARNED,
    GRID_MSE,
    GRID_TRUE,
    GRID_TRUE_MMCS,
    L1_BY_SIZE,
    L1_BY_SPARSITY,
    MSE_BY_SIZE,
    MSE_BY_SPARSITY,
)

Grid = Mapping[str, Any]
MAPS = (
    (GRID_CORRECTED, 1),
    (GRID_FVU, 1),
    (GRID_L0, None),
    (GRID_DEAD, 1),
    (GRID_COSINE, None),
)  # with the highest value; None: the grid's
TRUE = ((GRID_TRUE, 1), (GRID_LEARNED, 1), (GRID_TRUE_MMCS, 1), (GRID_FOUND, 1))
LOSSES = ((GRID_MSE, None), (GRID_L1, None))
CROWDED = 9  # columns from which a cell has room for two digits only
UNFINISHED = "*"
STICKY = ((MSE_BY_SIZE, None), (MSE_BY_SPARSITY, None), (L1_BY_SIZE, None), (L1_BY_SPARSITY, None))


def choosing_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """Make charts per grid that has several sparsities and several sizes: what to choose by, the truth, the losses."""
    grids = [g for g in metrics.get("choosing") or [] if len(g["sparsities"]) > 1 and len(g["sizes"]) > 1]
    makers = (_choosing, _true, _losses, _sticky)
    return [chart for make in makers for chart in map(make, range(len(grids)), grids) if chart.panels]


def _choosing(number: int, grid: Grid) -> Chart:
    return _chart(
        grid,
        number,
        family="choosing",
        title="Choosing size and sparsity",
        how_to_read=(
            "Rows are sizes, columns are sparsities. Where agreement with the next larger size is highest and almost "
            "no latent is dead, the result depends least on the choice; weigh it against the FVU at that L0. Along a "
            "row, the directions' mean |cosine| is high where too few latents are active: they mix features "
            "then. A star marks what had not converged: the dictionary, or either one of a comparison."
        ),
        panels=_maps(grid, MAPS),
    )


def _true(number: int, grid: Grid) -> Chart:
    return _chart(
        grid,
        number,
        family="true-grid",
        title="Size and sparsity by the truth",
        how_to_read=(
            "The same grid judged by the true features: how well they are found, and how much of what is found is "
            "true. If agreement with the next larger size is a good guide, it is dark where these are dark. A star "
            "marks what had not converged."
        ),
        panels=_maps(grid, TRUE),
    )


def _losses(number: int, grid: Grid) -> Chart:
    return _chart(
        grid,
        number,
        family="losses",
        title="The terms of the loss",
        how_to_read=(
            "The two terms that a sparse dictionary trades, as means over rows: the squared error, and the sum of the "
            "latents' values times their directions' norms. From left to right the first should rise and the second "
            "fall."
        ),
        panels=_maps(grid, LOSSES),
    )


def _chart(grid: Grid, number: int, *, family: str, title: str, how_to_read: str, panels: tuple[HeatMap, ...]) -> Chart:
    return Chart(
        name=f"{family}-{number:02d}",
        title=title,
        how_to_read=how_to_read,
        panels=panels,
        family=family,
        choice=_label(grid),
    )


def _maps(grid: Grid, maps: Sequence[tuple[Metric, Number | None]], *, mark: bool = True) -> tuple[HeatMap, ...]:
    return tuple(
        _heat_map(grid, metric, table, highest, _unfinished(grid, pairs=metric is GRID_CORRECTED) if mark else ())
        for metric, highest in maps
        if _known(table := metric.value(grid))
    )


def _unfinished(grid: Grid, *, pairs: bool) -> list[list[bool]]:
    """Tell which cells had not converged, or, of `pairs`, which they and their next larger ones."""
    done = grid["converged"] or [[None] * len(grid["sparsities"]) for _ in grid["sizes"]]
    open_cells = [[value == 0 for value in row] for row in done]
    if not pairs:
        return open_cells
    return [[*map(any, zip(*open_cells[i : i + 2], strict=True))] for i in range(len(open_cells))]


def _sticky(number: int, grid: Grid) -> Chart:
    return _chart(
        grid,
        number,
        family="stickiness",
        title="Loss stickiness (deprecated by its authors)",
        how_to_read=(
            "How strongly each term of the loss still responds to size and to sparsity. Its authors once read low "
            "values as the right choice and no longer recommend it; it is here for comparison with their published "
            "results."
        ),
        panels=_maps(grid, STICKY, mark=False),
    )


def _heat_map(
    grid: Grid,
    metric: Metric,
    table: Sequence[Sequence[Number | None]],
    highest: Number | None,
    unfinished: Sequence[Sequence[bool]],
) -> HeatMap:
    crowded, share = len(grid["sparsities"]) >= CROWDED, metric.form is PERCENT
    mark = f"\n{UNFINISHED}" if crowded else UNFINISHED
    top = highest if highest is not None else max((v for row in table for v in row if v is not None), default=1)
    return HeatMap(
        title=metric.title,
        x=grid["sparsity"],
        y="latents",
        columns=tuple(f"{value:.3g}" for value in grid["sparsities"]),
        rows=tuple(map(count, grid["sizes"])),
        values=tuple(map(tuple, table)),
        notes=tuple(
            tuple(
                "" if v is None else _note(v, share, crowded) + (mark if unfinished and unfinished[i][j] else "")
                for j, v in enumerate(row)
            )
            for i, row in enumerate(table)
        ),
        range=(0, top or 1),
    )


def _note(value: Number, share: bool, crowded: bool) -> str:
    """Write a cell's value; as short as can be where there are many columns: `43` for 43.2%, `.43` for 0.432."""
    if not crowded:
        return percent(value) if share else significant(value, 2)
    if share:
        return f"{100 * value:.0f}"
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.{0 if abs(value) >= 10 else 1}f}"


def _known(table: Sequence[Sequence[Number | None]] | None) -> bool:
    return any(value is not None for row in table or [] for value in row)


def _label(grid: Grid) -> str:
    ladder = ladder_of({**grid, "sparsity": {}})
    return ladder.label
