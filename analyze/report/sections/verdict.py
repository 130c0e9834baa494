"""The answer to: is the true size and sparsity found by criteria that do not know the truth?"""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import NOT_MEASURED, Number, count, decimal, significant
from analyze.ladders import ladder_of
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table

Grid = Mapping[str, Any]
CRITERIA = {
    "mmcs_next_corrected": "MMCS with the next larger, corrected",
    "mmcs_next_living": "the same, where at most 10% are dead",
    "mmcs_next": "MMCS with the next larger, uncorrected",
    "elbow": "elbow of FVU over L0",
    "decoder_cosine": "smallest mean |cosine| of directions",
}
GATES = {"converged": "converged dictionaries only", "all": "all dictionaries, converged or not"}
CLOSE = 0.05  # of corrected MMCS: as good a choice as the best
FEWEST = 3  # comparisons that a choice needs


def verdict_words(metrics: Mapping[str, Any]) -> list[str]:
    """Answer for each grid in a sentence or two."""
    return [_answer(grid) for grid in _judged(metrics)]


def verdict_tables(metrics: Mapping[str, Any]) -> list[Table]:
    grids = _judged(metrics)
    table = Table(
        title="What each criterion picks without the truth",
        how_to_read=(
            "The dictionary that each criterion picks, beside the best by the truth. Regret is how much more of the "
            "truth the best one found (corrected MMCS of the true features; both ways: the smaller of that and of the "
            "latents'). ρ is Spearman's rank correlation of criterion and truth over the grid: 1 if the criterion "
            "orders dictionaries as the truth does, 0 if it is unrelated. Only comparisons of converged dictionaries "
            "count as an answer."
        ),
        columns=(
            *("criterion", "picks latents", "per feature", "sparsity", "truth there", "regret", "ρ"),
            *("both ways there", "regret", "ρ", "out of"),
        ),
        groups={
            f"{_label(grid)} · {words}": [
                *(
                    _picked(CRITERIA[name], said["criteria"][name], said["criteria"][name]["picked"])
                    for name in CRITERIA
                ),
                *(
                    _picked(name, {"cells": grid["verdict"]["all"]["cells"]}, grid["verdict"]["best"][judge])
                    for judge, name in (("found", "the truth itself"), ("alike", "the truth itself, both ways"))
                ),
            ]
            for grid in grids
            for gate, words in GATES.items()
            for said in [grid["verdict"][gate]]
        },
    )
    return [table] if grids else []


def verdict_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """Draw each grid's criterion against the truth, a point for every dictionary that has a next larger one."""
    return [
        Chart(
            name=f"criterion-{number:02d}",
            title="Does agreement with the next larger size tell the truth?",
            how_to_read=(
                "Each point is a dictionary: how well the next larger one contains it, which anybody can measure, "
                "against how much of the truth it found, which only toy data show. If the points follow a rising "
                "line, the first predicts the second. Hollow points had not converged."
            ),
            panels=tuple(
                _scatter(grid, key, title)
                for key, title in (
                    ("mmcs_corrected", "The true features, looked up in it"),
                    ("learned", "Its latents, looked up in the truth"),
                )
            ),
            family="criterion",
            choice=_label(grid),
        )
        for number, grid in enumerate(_judged(metrics))
    ]


def _judged(metrics: Mapping[str, Any]) -> list[Grid]:
    return [g for g in metrics.get("choosing") or [] if g.get("verdict") and len(g["sizes"]) * len(g["sparsities"]) > 3]


def _answer(grid: Grid) -> str:
    gate = "converged" if _chosen(grid, "converged") else "all"
    found = grid["verdict"][gate]["criteria"]["mmcs_next_corrected"]
    best, alike = (grid["verdict"]["best"][judge] for judge in ("found", "alike"))
    picked = found["picked"]
    if picked is None:
        return f"{_label(grid)}: no two neighbouring sizes were compared, so this cannot be judged."
    if found["regret"] is None or found["regret_alike"] is None:
        return f"{_label(grid)}: the dictionary that it picks has no alive latent, so this cannot be judged."
    good, near = found["regret"] <= CLOSE, found["regret_alike"] <= CLOSE
    verdict = (
        "Yes:"
        if good and near
        else "Half: it finds most of the features, but not the right size:"
        if good
        else "No: it misses the best dictionary:"
    )
    unsure = (
        ""
        if gate == "converged"
        else " Too few dictionaries had converged, so this covers all of them and may change with more rows."
    )
    return (
        f"{_label(grid)}. Does agreement with the next larger size find size and sparsity without the truth? {verdict} "
        f"it picks {_cell(grid, picked)}, where the corrected MMCS of the true features is {picked['found']:.2f}; the "
        f"best is {best['found']:.2f} at {_cell(grid, best)}, or at {_cell(grid, alike)} when false latents count "
        f"against it. Over {found['cells']} dictionaries the rank correlation of agreement and truth is "
        f"{significant(found['rank_correlation'], 2)}.{unsure}"
    )


def _chosen(grid: Grid, gate: str) -> bool:
    return grid["verdict"][gate]["criteria"]["mmcs_next_corrected"]["cells"] >= FEWEST


def _cell(grid: Grid, cell: Mapping[str, Any]) -> str:
    return (
        f"{count(cell['n_latents'])} latents ({significant(cell['size_ratio'])} per feature) at "
        f"{grid['sparsity']} {cell['sparsity']:.3g}"
    )


def _picked(name: str, said: Mapping[str, Any], picked: Mapping[str, Any] | None) -> tuple[str, ...]:
    if picked is None:
        return (name, *[NOT_MEASURED] * 9, count(said["cells"]))
    return (
        name,
        count(picked["n_latents"]),
        significant(picked["size_ratio"]),
        f"{picked['sparsity']:.3g}",
        decimal(picked["found"]),
        decimal(said.get("regret")),
        decimal(said.get("rank_correlation"), 2),
        decimal(picked["alike"]),
        decimal(said.get("regret_alike")),
        decimal(said.get("rank_correlation_alike"), 2),
        count(said["cells"]),
    )


def _scatter(grid: Grid, key: str, title: str) -> Panel:
    series = []
    for row, size in enumerate(grid["sizes"]):
        for done, kind in ((True, ""), (False, ", not converged")):
            points = [
                (x, y, column)
                for column, (x, y) in enumerate(
                    zip(grid["mmcs_next_corrected"][row], grid["truth"][key][row], strict=True)
                )
                if x is not None and y is not None and bool(grid["converged"][row][column]) == done
            ]
            if points:
                series.append(_points(grid, f"{count(size)} latents{kind}", points, row, hollow=not done))
    return Panel(
        title=title,
        x=Axis(title="corrected MMCS with the next larger size"),
        y=Axis(title="corrected MMCS"),
        series=tuple(series),
    )


def _points(
    grid: Grid, name: str, points: Sequence[tuple[Number, Number, int]], colour: int, *, hollow: bool
) -> Series:
    return Series(
        name=name,
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        mark="points",
        colour=colour,
        symbol=1 if hollow else 0,
        notes=[f"{grid['sparsity']} {grid['sparsities'][column]:.3g}" for _, _, column in points],
    )


def _label(grid: Grid) -> str:
    return ladder_of({**grid, "sparsity": {}}).label
