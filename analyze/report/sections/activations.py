"""Activations: how values, norms and dimensions are distributed, residual stream and MLP side by side."""

from collections.abc import Callable, Mapping, Sequence
from math import exp, pi, sqrt
from statistics import median
from typing import Any

from analyze.format import NOT_MEASURED, Number, Values, listing, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Section, Table
from analyze.report.sections.laws import basis_chart, law_charts, laws_table, spectrum_chart
from analyze.report.sections.massive import massive_table, massive_words
from analyze.report.sections.toy import toy_tables
from analyze.report.sections.toy_real import toy_real_tables, toy_real_words
from analyze.report.sections.untrainable import untrainable_words
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import LARGEST, LARGEST_KEPT, MEAN_NORM, ROWS, SMALL, WIDTH, ZEROS
from analyze.schema.record import measured

Hook = Mapping[str, Any]
HOOK = (WIDTH, ROWS, MEAN_NORM, ZEROS, SMALL)
KINDS = {"toy": "Toy data", "residual": "Residual stream", "mlp": "MLP", "other": "Other hooks"}
STEEP = 20  # a mean norm that differs by more than this factor between positions needs a logarithmic axis
VIEW = 12.0  # standard deviations that the distribution's axis reaches at most; rare values beyond would flatten it


def activations_section(metrics: Mapping[str, Any]) -> Section:
    hooks = metrics.get("activations") or []
    if not hooks:
        return Section(name="activations", title="Activations")
    kinds = {KINDS[kind]: of_kind for kind, of_kind in _by_kind(hooks).items()}
    charts = [_values(hooks), *law_charts(kinds), _norms(hooks), _positions(hooks), spectrum_chart(kinds)]
    charts += [basis_chart(kinds), _kurtosis(hooks)]
    return Section(
        name="activations",
        title="Activations",
        paragraphs=[
            "What the dictionaries were trained on: statistics over all harvested rows, the residual stream beside "
            "the MLP.",
            *untrainable_words(hooks),
            *(f"{hook['hook']}: {massive_words(hook)}" for hook in hooks if measured(hook, "massive")),
            *toy_real_words(metrics),
        ],
        tables=[*massive_table(hooks), _table(hooks), *toy_real_tables(metrics), *laws_table(kinds)],
        charts=[chart for chart in charts if chart.panels] + _dimensions(hooks),
        more_tables=toy_tables(metrics),
    )


def _table(hooks: Sequence[Hook]) -> Table:
    return Table(
        title="Hooks",
        how_to_read=(
            "Near zero is within a thousandth of its dimension's standard deviation (0.1% of a normal distribution). "
            "Kurtosis is 3 for a normal distribution and more for heavier tails. Outlier dimensions have a mean, a "
            "standard deviation or a kurtosis above ten times the median dimension's; a few of them can carry most of "
            "the norm. The largest dimension is the one of the largest variance, with its share of all."
        ),
        columns=(
            *("hook", *titles(HOOK)),
            *("kurtosis, median", "kurtosis, largest", "outlier dimensions", LARGEST.title),
        ),
        groups={
            KINDS[kind]: [
                (
                    hook["hook"],
                    *texts(hook, HOOK),
                    significant(median(tails) if (tails := _tails(hook)) else None),
                    significant(max(tails) if tails else None),
                    _outliers(hook),
                    _largest(hook),
                )
                for hook in of_kind
            ]
            for kind, of_kind in _by_kind(hooks).items()
        },
    )


def _outliers(hook: Hook) -> str:
    dimensions = measured(hook, "outlier_dimensions")
    if dimensions is None:
        return NOT_MEASURED
    return f"{len(dimensions)}: {listing([str(d) for d in dimensions])}" if dimensions else "none"


def _largest(hook: Hook) -> str:
    found = measured(hook, "largest_dimension")
    if found is None:
        return NOT_MEASURED
    kept = f"; without massive rows {found['kept_dimension']}: {LARGEST_KEPT.text(hook)}"
    return f"{found['dimension']}: {LARGEST.text(hook)}{kept if measured(hook, 'massive.left_out') else ''}"


def _by_kind(hooks: Sequence[Hook]) -> dict[str, list[Hook]]:
    kinds: dict[str, list[Hook]] = {kind: [] for kind in KINDS}
    for hook in hooks:
        kinds[hook.get("kind") or "other"].append(hook)
    return {kind: of_kind for kind, of_kind in kinds.items() if of_kind}


def _panels(
    hooks: Sequence[Hook], x: Axis, y: Axis, series_of: Callable[[Hook], Series | None], *references: Series
) -> tuple[Panel, ...]:
    """Make one panel per kind with a series per hook, leaving out what was not measured."""
    panels = []
    for kind, of_kind in _by_kind(hooks).items():
        series = tuple(s for s in map(series_of, of_kind) if s is not None)
        if series:
            panels.append(Panel(title=KINDS[kind], x=x, y=y, series=(*series, *references)))
    return tuple(panels)


def _values(hooks: Sequence[Hook]) -> Chart:
    def series_of(hook: Hook) -> Series | None:
        histogram = measured(hook, "histogram")
        if not histogram:
            return None
        return Series(
            name=hook["hook"], x=histogram["edges"], y=[value or None for value in histogram["density"]], mark="bins"
        )

    reach = _reach(hooks)
    grid = [reach * i / 200 for i in range(-200, 201)]
    lowest = min((v for h in hooks for v in (measured(h, "histogram.density") or []) if v), default=1e-6)
    normal = [value if (value := exp(-x * x / 2) / sqrt(2 * pi)) >= lowest else None for x in grid]
    return Chart(
        name="values",
        title="The distribution of values",
        how_to_read=(
            "All values of a hook, in units of the standard deviation of its median dimension, with the density on a "
            "logarithmic axis. Above the dashed normal distribution at the sides: heavy tails. A spike in the middle: "
            f"many values near zero. The view opens at ±{reach:g}; double-click to see what lies beyond."
        ),
        panels=_panels(
            hooks,
            Axis(title="value (standard deviations)", range=(-reach, reach)),
            Axis(title="density", log=True),
            series_of,
            Series(name="normal law", x=grid, y=normal, reference=True),
        ),
    )


def _reach(hooks: Sequence[Hook]) -> Number:
    """Find how far from zero the values reach, up to `VIEW`."""
    furthest: Number = 1.0
    for hook in hooks:
        if histogram := measured(hook, "histogram"):
            edges = histogram["edges"]
            filled = [i for i, density in enumerate(histogram["density"]) if density]
            furthest = max([furthest, *(abs(edges[i + side]) for i in filled for side in (0, 1))])
    return min(VIEW, furthest)


def _norms(hooks: Sequence[Hook]) -> Chart:
    def series_of(hook: Hook) -> Series | None:
        norms = measured(hook, "norms")
        if not norms or not sum(norms["counts"]):
            return None
        filled = [i for i, c in enumerate(norms["counts"]) if c]
        start, stop = filled[0], filled[-1] + 1  # empty bins at both ends only push the rest together
        shares = [100 * c / sum(norms["counts"]) for c in norms["counts"][start:stop]]
        return Series(name=hook["hook"], x=norms["edges"][start : stop + 1], y=shares, mark="bins")

    positive = all(series.x[0] > 0 for hook in hooks if (series := series_of(hook)) and series.x[0] is not None)
    return Chart(
        name="norms",
        title="The distribution of norms",
        how_to_read=(
            "The norms of the rows, as a share of the rows per bin. A narrow peak means that a row's direction "
            "carries the information; a second peak far out is usually a special token or position."
        ),
        panels=_panels(
            hooks, Axis(title="norm of a row", log=positive), Axis(title="rows (% per bin)", from_zero=True), series_of
        ),
    )


def _positions(hooks: Sequence[Hook]) -> Chart:
    def series_of(hook: Hook) -> Series | None:
        norms = measured(hook, "position_norms")
        if not norms or all(norm is None for norm in norms):
            return None
        return Series(name=hook["hook"], x=list(range(len(norms))), y=[norm or None for norm in norms])

    levels = [[norm for norm in measured(hook, "position_norms") or [] if norm] for hook in hooks]
    steep = any(norms and max(norms) > STEEP * min(norms) for norms in levels)
    return Chart(
        name="position-norms",
        title="Norm by position",
        how_to_read=(
            "The mean norm at each position in the sequence; positions that were not harvested are left out. A "
            "different level at the first positions comes from the position, not from the text, and attracts latents."
        ),
        panels=_panels(
            hooks,
            Axis(title="position in the sequence (tokens)"),
            Axis(title="mean norm", log=steep, from_zero=True),
            series_of,
        ),
    )


def _kurtosis(hooks: Sequence[Hook]) -> Chart:
    def series_of(hook: Hook) -> Series | None:
        tails = sorted(_tails(hook), reverse=True)
        if not tails:
            return None
        return Series(name=hook["hook"], x=list(range(1, len(tails) + 1)), y=[value or None for value in tails])

    widest = max((len(_tails(hook)) for hook in hooks), default=1)
    return Chart(
        name="kurtosis",
        title="Kurtosis by dimension",
        how_to_read=(
            "The kurtosis of every dimension, the largest first; the dashed line is the normal distribution's 3. "
            "Dimensions far above it are mostly quiet and rarely strong: the mark of a basis in which single "
            "dimensions mean something."
        ),
        panels=_panels(
            hooks,
            Axis(title="rank of the dimension", log=True),
            Axis(title="kurtosis", log=True),
            series_of,
            Series(name="normal law", x=[1, max(widest, 2)], y=[3, 3], reference=True),
        ),
    )


def _tails(hook: Hook) -> list[Number]:
    """Return the kurtosis of each dimension (not the excess over the normal law's 3)."""
    return [max(0.0, excess + 3) for excess in measured(hook, "kurtosis") or [] if excess is not None]


def _dimensions(hooks: Sequence[Hook]) -> list[Chart]:
    """Make one chart per hook: mean against kurtosis, each dimension a point."""
    charts = []
    for number, hook in enumerate(hooks):
        mean, variance, kurtosis = (measured(hook, key) for key in ("mean", "variance", "kurtosis"))
        if not (mean and variance and kurtosis) or not sum(variance):
            continue
        scale = sqrt(median(v for v in variance if v))
        x = [abs(m) / scale or None for m in mean]
        y = [None if k is None or k + 3 <= 0 else k + 3 for k in kurtosis]
        outliers = set(measured(hook, "outlier_dimensions") or [])
        parts = (("dimension", [i for i in range(len(x)) if i not in outliers]), ("outlier", sorted(outliers)))
        charts.append(
            Chart(
                name=f"dimensions-{number:02d}",
                title="Outlier dimensions",
                how_to_read=(
                    "Each point is a dimension. Far right: its mean is large compared with the hook's spread, so it "
                    "is nearly constant. Far up: it is rarely and strongly active. Points away from the cloud "
                    "dominate every cosine and every norm."
                ),
                panels=(
                    Panel(
                        title=hook["hook"],
                        x=Axis(title="|mean| (standard deviations of the median dimension)", log=True),
                        y=Axis(title="kurtosis", log=True),
                        series=tuple(_points(name, part, x, y, i) for i, (name, part) in enumerate(parts) if part),
                    ),
                ),
                family="dimensions",
                choice=hook["hook"],
            )
        )
    return charts


def _points(name: str, dimensions: Sequence[int], x: Values, y: Values, number: int) -> Series:
    return Series(
        name=name,
        x=[x[i] for i in dimensions],
        y=[y[i] for i in dimensions],
        mark="points",
        colour=number,
        notes=[f"dimension {i}" for i in dimensions],
    )
