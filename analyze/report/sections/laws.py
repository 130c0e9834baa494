"""What single values of the activations follow, how they fill their space, and whether their basis is special."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import exp, gamma, lgamma, log, pi, sqrt
from typing import Any

from analyze.format import Number, count, decimal, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import DIMENSIONS_FILLED, TAILS_BASIS, TAILS_ROTATED, WIDTH
from analyze.schema.record import measured

Hook = Mapping[str, Any]
LAWS = {
    "normal": "normal",
    "laplace": "Laplace",
    "student_t": "Student-t",
    "generalised_normal": "generalised normal",
}


def laws_table(kinds: Mapping[str, Sequence[Hook]]) -> list[Table]:
    known = {kind: [hook for hook in hooks if _has_shape(hook)] for kind, hooks in kinds.items()}
    known = {kind: hooks for kind, hooks in known.items() if hooks}
    table = Table(
        title="Law, space and basis",
        how_to_read=(
            "The law that gives held-out values (each dimension standardised) the highest likelihood, and by how much "
            "more than the normal law, in nats per value; the participation ratio is the number of equally filled "
            "dimensions that would be as spread out; kurtosis along the basis far above that along random directions "
            "means that single dimensions carry signals of their own."
        ),
        columns=(
            *(
                "hook",
                "best law",
                "above the normal",
                "its shape",
                *titles((WIDTH, DIMENSIONS_FILLED)),
                "dimensions for 90%",
            ),
            *titles((TAILS_BASIS, TAILS_ROTATED)),
        ),
        groups={
            kind: [
                (
                    hook["hook"],
                    LAWS.get(measured(hook, "fits.best") or "", "–"),
                    decimal(_gain(hook, measured(hook, "fits.best"))),
                    _shape(hook),
                    *texts(hook, (WIDTH, DIMENSIONS_FILLED)),
                    count(_needed(measured(hook, "spectrum.shares") or [], 0.9)),
                    *texts(hook, (TAILS_BASIS, TAILS_ROTATED)),
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
            title="Values and the laws fitted to them",
            how_to_read=(
                "Held-out values, each dimension standardised, and the density of every law as fitted to other values, "
                "on a logarithmic axis: the best law follows the outline into the sides, where the normal one falls "
                "off too early or too late."
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
            if (shares := measured(hook, "spectrum.shares"))
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
            "The share of the variance within the first principal directions: the earlier a curve rises above the "
            "dashed one, which fills all dimensions of the widest hook alike, the fewer dimensions the activations "
            "really use, and the easier a code of few components is."
        ),
        panels=tuple(panels),
    )


def basis_chart(kinds: Mapping[str, Sequence[Hook]]) -> Chart:
    hooks = [hook for of_kind in kinds.values() for hook in of_kind if measured(hook, "privileged_basis")][::-1]
    parts = (("along the basis", "along_basis", False), ("along random directions", "along_rotation", True))
    panel = Panel(
        title="All hooks",
        x=Axis(title="mean excess kurtosis (0 for a normal law)"),
        y=Axis(title="", categories=tuple(hook["hook"] for hook in hooks)),
        series=tuple(
            Series(
                name=name,
                x=[measured(hook, f"privileged_basis.{key}") for hook in hooks],
                y=range(len(hooks)),
                mark="points",
                reference=reference,
                symbol=1 if reference else 0,
                notes=[hook["hook"] for hook in hooks],
            )
            for name, key, reference in parts
        ),
    )
    return Chart(
        name="privileged-basis",
        title="Is the basis special?",
        how_to_read=(
            "The tails along single dimensions beside those along random directions: alike, nothing distinguishes the "
            "basis; a dot far to the right of its hollow mark means that single dimensions are mostly quiet and "
            "rarely strong, so that the basis is privileged."
        ),
        panels=(panel,) if hooks else (),
    )


def _has_shape(hook: Hook) -> bool:
    return any(measured(hook, key) for key in ("fits.best", "spectrum", "privileged_basis"))


def _gain(hook: Hook, law: str | None) -> Number | None:
    laws = measured(hook, "fits.laws") or {}
    return laws[law]["log_likelihood"] - laws["normal"]["log_likelihood"] if law in laws else None


def _shape(hook: Hook) -> str:
    """Name the parameter that says how heavy the best law's tails are."""
    best = measured(hook, "fits.best")
    if best in ("student_t", "generalised_normal"):
        value = significant(measured(hook, "fits.laws")[best]["parameters"][0])
        return f"{value} degrees of freedom" if best == "student_t" else f"exponent {value}"
    return "–"


def _needed(shares: Sequence[Number], share: float) -> int | None:
    """Count the principal directions that hold this share of the variance."""
    return next((i + 1 for i, held in enumerate(accumulate(shares)) if held >= share), None)


def _law_panel(hook: Hook) -> Panel:
    histogram = hook["fits"]["histogram"]
    edges = histogram["edges"]
    grid = [edges[0] + (edges[-1] - edges[0]) * i / 240 for i in range(241)]
    lowest = min((value for value in histogram["density"] if value), default=1e-6) / 3
    laws = [
        Series(
            name=f"{LAWS[name]} ({_gain(hook, name):+.3f} nats)" if name != "normal" else "normal",
            x=grid,
            y=[value if (value := density(name, fit["parameters"], x)) >= lowest else None for x in grid],
            reference=name == "normal",
        )
        for name, fit in hook["fits"]["laws"].items()
        if name in LAWS
    ]
    found = Series(name="values", x=edges, y=[value or None for value in histogram["density"]], mark="bins")
    return Panel(
        title=hook["hook"],
        x=Axis(title="value (standard deviations of its dimension)", range=(edges[0], edges[-1])),
        y=Axis(title="density", log=True),
        series=(found, *laws),
    )


def density(law: str, parameters: Sequence[Number], x: float) -> float:
    """Compute a law's density at x from its parameters as `fits` gives them: shape, where it has one, place, scale."""
    *shape, place, scale = parameters
    z = abs(x - place) / scale
    match law:
        case "normal":
            value = exp(-z * z / 2) / sqrt(2 * pi)
        case "laplace":
            value = exp(-z) / 2
        case "student_t":
            nu = shape[0]
            weight = lgamma((nu + 1) / 2) - lgamma(nu / 2) - log(nu * pi) / 2
            value = exp(weight - (nu + 1) / 2 * log(1 + z * z / nu))
        case _:
            value = shape[0] * exp(-(z ** shape[0])) / (2 * gamma(1 / shape[0]))
    return value / scale
