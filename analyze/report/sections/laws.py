"""What single values of the activations follow, how they fill their space, and whether their basis is special."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from analyze.activations.laws import LAWS
from analyze.format import Number, count, decimal, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import (
    DIMENSIONS_FILLED,
    FILLED_STANDARDISED,
    TAILS_BASIS,
    TAILS_ROTATED,
    TYPICAL_BASIS,
    TYPICAL_ROTATED,
    WIDTH,
)
from analyze.schema.record import measured

TAILS = (TYPICAL_BASIS, TYPICAL_ROTATED, TAILS_BASIS, TAILS_ROTATED)
Hook = Mapping[str, Any]
NAMES = {
    "normal": "normal",
    "laplace": "Laplace",
    "student_t": "Student-t",
    "generalised_normal": "generalised normal",
}


def laws_table(kinds: Mapping[str, Sequence[Hook]]) -> list[Table]:
    known = {kind: [hook for hook in hooks if _has_shape(hook)] for kind, hooks in kinds.items()}
    known = {kind: hooks for kind, hooks in known.items() if hooks}
    table = Table(
        title="Distribution, dimension and basis",
        how_to_read=(
            "The law that gives held-out values (each dimension standardised) the highest likelihood, and its gain "
            "over the normal law in nats per value. The participation ratio is the effective number of dimensions. "
            "Kurtosis along the basis far above that along random directions means that single dimensions carry "
            "signals of their own."
        ),
        columns=(
            *(
                "hook",
                "best law",
                "above the normal",
                "its shape",
                *titles((WIDTH, DIMENSIONS_FILLED, FILLED_STANDARDISED)),
                "dimensions for 90%",
            ),
            *titles(TAILS),
        ),
        groups={
            kind: [
                (
                    hook["hook"],
                    NAMES.get(measured(hook, "fits.best") or "", "–"),
                    decimal(_gain(hook, measured(hook, "fits.best"))),
                    _shape(hook),
                    *texts(hook, (WIDTH, DIMENSIONS_FILLED, FILLED_STANDARDISED)),
                    count(_needed(_shares(hook), 0.9)),
                    *texts(hook, TAILS),
                )
                for hook in hooks
            ]
            for kind, hooks in known.items()
        },
    )
    return [table] if known else []


def law_charts(kinds: Mapping[str, Sequence[Hook]]) -> list[Chart]:
    """Make one chart per hook: the values, and every law fitted to them."""
    hooks = [hook for of_kind in kinds.values() for hook in of_kind if measured(hook, "fits.histogram")]
    return [
        Chart(
            name=f"laws-{number:02d}",
            title="Values and the distributions fitted to them",
            how_to_read=(
                "Held-out values, each dimension standardised, and the distributions fitted to other values, on a "
                "logarithmic axis. The best one follows the values into the tails, where the normal one falls off too "
                "early or too late."
            ),
            panels=(_law_panel(hook),),
            family="laws",
            choice=hook["hook"],
        )
        for number, hook in enumerate(hooks)
    ]


def spectrum_chart(kinds: Mapping[str, Sequence[Hook]]) -> Chart:
    panels = []
    for kind, hooks in kinds.items():
        series = tuple(
            Series(name=hook["hook"], x=range(1, len(shares) + 1), y=[100 * s for s in accumulate(shares)])
            for hook in hooks
            if (shares := _shares(hook))
        )
        if series:
            widest = max(len(s.y) for s in series)
            sphere = Series(
                name="equally filled",
                x=range(1, widest + 1),
                y=[100 * i / widest for i in range(1, widest + 1)],
                reference=True,
            )
            panels.append(
                Panel(
                    title=kind,
                    x=Axis(title="principal directions kept", log=True),
                    y=Axis(title="variance they hold (%)", range=(0, 101)),
                    series=(*series, sphere),
                )
            )
    return Chart(
        name="spectrum",
        title="How the variance is spread",
        how_to_read=(
            "The share of the variance within the first principal directions. The earlier a curve rises above the "
            "dashed one (all dimensions of the widest hook equally filled), the fewer dimensions the activations use, "
            "and the easier a code of few components is."
        ),
        panels=tuple(panels),
    )


def basis_chart(kinds: Mapping[str, Sequence[Hook]]) -> Chart:
    hooks = [hook for of_kind in kinds.values() for hook in of_kind if measured(hook, "privileged_basis")][::-1]
    parts = (("along the basis", TYPICAL_BASIS, False), ("along random directions", TYPICAL_ROTATED, True))
    panel = Panel(
        title="All hooks",
        x=Axis(title="median excess kurtosis (0 for a normal law)"),
        y=Axis(title="", categories=tuple(hook["hook"] for hook in hooks)),
        series=tuple(
            Series(
                name=name,
                x=[metric.value(hook) for hook in hooks],
                y=range(len(hooks)),
                mark="points",
                reference=reference,
                symbol=1 if reference else 0,
                notes=[hook["hook"] for hook in hooks],
            )
            for name, metric, reference in parts
        ),
    )
    return Chart(
        name="privileged-basis",
        title="Is the basis special?",
        how_to_read=(
            "The tails along the typical dimension beside those along the typical random direction, after each "
            "dimension was standardised, so that no outlier dimension decides. If they are alike, nothing "
            "distinguishes the basis. A dot far to the right of its hollow mark means that single dimensions are "
            "mostly quiet and rarely strong: the basis is privileged."
        ),
        panels=(panel,) if hooks else (),
    )


def _has_shape(hook: Hook) -> bool:
    return any(measured(hook, key) for key in ("fits.best", "spectrum", "privileged_basis"))


def _gain(hook: Hook, law: str | None) -> Number | None:
    laws = measured(hook, "fits.laws") or {}
    own, normal = (laws[name]["log_likelihood"] if name in laws else None for name in (law, "normal"))
    return None if own is None or normal is None else own - normal


def _shape(hook: Hook) -> str:
    """Name the parameter that says how heavy the best law's tails are."""
    best = measured(hook, "fits.best")
    if best in ("student_t", "generalised_normal"):
        value = significant(measured(hook, "fits.laws")[best]["parameters"][0])
        return f"{value} degrees of freedom" if best == "student_t" else f"exponent {value}"
    return "–"


def _shares(hook: Hook) -> list[Number]:
    """Give the shares of the variance; none where nothing varies, of which earlier reports have a list of nulls."""
    return [share for share in measured(hook, "spectrum.shares") or [] if share is not None]


def _needed(shares: Sequence[Number], share: float) -> int | None:
    """Count the principal directions that hold this share of the variance."""
    return next((i + 1 for i, held in enumerate(accumulate(shares)) if held >= share), None)


def _density(law: str, grid: np.ndarray, parameters: Sequence[Number]) -> list[float]:
    with np.errstate(over="ignore"):  # of a power, in tails that are none
        return LAWS[law].pdf(grid, *parameters).tolist()


def _named(hook: Hook, law: str) -> str:
    gain = None if law == "normal" else _gain(hook, law)
    return NAMES[law] if gain is None else f"{NAMES[law]} ({gain:+.3f} nats)"


def _law_panel(hook: Hook) -> Panel:
    histogram = hook["fits"]["histogram"]
    edges = histogram["edges"]
    grid = np.linspace(edges[0], edges[-1], 241)
    lowest = min((value for value in histogram["density"] if value), default=1e-6) / 3
    laws = [
        Series(
            name=_named(hook, name),
            x=grid.tolist(),
            y=[value if value >= lowest else None for value in _density(name, grid, fit["parameters"])],
            reference=name == "normal",
        )
        for name, fit in hook["fits"]["laws"].items()
        if name in NAMES
    ]
    found = Series(name="values", x=edges, y=[value or None for value in histogram["density"]], mark="bins")
    return Panel(
        title=hook["hook"],
        x=Axis(title="value (standard deviations of its dimension)", range=(edges[0], edges[-1])),
        y=Axis(title="density", log=True),
        series=(found, *laws),
    )
