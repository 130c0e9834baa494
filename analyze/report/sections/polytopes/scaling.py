"""Scaling: over which factors a row keeps its meaning, beside the range in which the data live."""

from collections.abc import Sequence

from analyze.format import NOT_MEASURED, Number, count, percent, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import charts_of, extent, interval, spread
from analyze.schema.polytopes.scaling import OverFactors, ScaledHook, Scaling, Validity

FLOOR = 1e-3  # nats: the axis begins here


def scaling_part(scaling: Scaling) -> Part:
    return Part(
        name="polytopes-scaling",
        title="Over which factors does a row keep its meaning?",
        charts=_curves(scaling),
        tables=[_validity(scaling), _crossings(scaling), *_of_clusters(scaling)],
        verdict=_verdict(scaling),
    )


def _curves(scaling: Scaling) -> list[Chart]:
    panels: dict[str, Sequence[Panel]] = {hook.hook: _of_hook(scaling, hook) for hook in scaling.hooks}
    return charts_of(
        "polytopes-scaling",
        "What changes when a row is scaled",
        "The row at one position times α; medians over rows, with quartiles. The shaded band is where the data live; "
        "where the line leaves the floor inside the band, direction alone does not fix meaning. Dashed, grey: a random "
        "step of the same length, so is scaling special? The flat line is the tolerance.",
        panels,
    )


def _of_hook(scaling: Scaling, hook: ScaledHook) -> list[Panel]:
    kinds = hook.kinds
    x = Axis(title="factor α", log=True)
    natural = _ends(hook)
    top = max((v for v in kinds.scaled.kl.q75 if v is not None), default=1)
    tolerance = Series(
        name=f"tolerance ({scaling.tolerance:g} nats)",
        x=[scaling.factors[0], scaling.factors[-1]],
        y=[scaling.tolerance, scaling.tolerance],
        reference=True,
    )
    panels = [
        Panel(
            title="KL from the unchanged output",
            x=x,
            y=Axis(title="KL (nats)", log=True, range=(FLOOR, 2 * max(top, 10 * FLOOR))),
            series=(
                *_lines(scaling, kinds.scaled.kl, kinds.about_mean.kl, kinds.random.kl, positive=True),
                tolerance,
            ),
            shaded=natural,
        )
    ]
    if kinds.scaled.hamming and kinds.about_mean.hamming and kinds.random.hamming:
        lines = _lines(scaling, kinds.scaled.hamming, kinds.about_mean.hamming, kinds.random.hamming)
        y = Axis(title="share of later bits that differ", from_zero=True)
        panels.append(Panel(title="codes of later layers", x=x, y=y, series=lines, shaded=natural))
    kept = (("scaled", kinds.scaled), ("about the mean", kinds.about_mean))
    panels.append(
        Panel(
            title="most probable token kept",
            x=x,
            y=Axis(title="share of rows", range=(0, 1.05)),
            series=(
                *(Series(name=name, x=scaling.factors, y=of.top_kept) for name, of in kept),
                Series(name="random step", x=scaling.factors, y=kinds.random.top_kept, reference=True),
            ),
            shaded=natural,
        )
    )
    return panels


def _ends(hook: ScaledHook) -> tuple[Number, Number] | None:
    low, high = hook.natural.low.median, hook.natural.high.median
    return None if low is None or high is None else (low, high)


def _lines(
    scaling: Scaling, scaled: OverFactors, about_mean: OverFactors, random: OverFactors, positive: bool = False
) -> tuple[Series, ...]:
    def cleaned(values: Sequence[Number | None]) -> list[Number | None]:
        return [None if v is None or (positive and v <= 0) else v for v in values]

    return (
        Series(
            name="scaled",
            x=scaling.factors,
            y=cleaned(scaled.median),
            low=cleaned(scaled.q25),
            high=cleaned(scaled.q75),
        ),
        Series(name="about the mean", x=scaling.factors, y=cleaned(about_mean.median)),
        Series(name="random step", x=scaling.factors, y=cleaned(random.median), reference=True),
    )


def _validity(scaling: Scaling) -> Table:
    def row(name: str, found: Validity | None) -> tuple[str, ...]:
        if found is None:
            return (name, *[NOT_MEASURED] * 5)
        return (
            name,
            spread(found.low),
            spread(found.high),
            " / ".join(map(percent, found.at_edge)),
            interval(found.coverage, percent),
            str(len(found.of_row)),
        )

    groups = {}
    for hook in scaling.hooks:
        of = hook.validity
        groups[f"{hook.hook}: the data's norms {spread(hook.natural.low)} to {spread(hook.natural.high)}"] = [
            row("scaled, by KL", of.kl),
            row("random step, by KL", of.kl_random),
            row("about the mean, by KL", of.kl_about_mean),
            row("scaled, by the most probable token", of.top),
            row("scaled, by its cluster at the next layer", of.cluster),
        ]
    return Table(
        title="Validity intervals, and the norms of the data",
        how_to_read=(
            f"The factors around 1 over which the output stays within {scaling.tolerance:g} nats (or the token, or the "
            "cluster, stays); medians with the 5% and 95% quantiles over rows. At the edge: rows whose lower / upper "
            "end is the grid's, so the interval may be wider. Coverage: rows whose interval contains the natural "
            "range, with its 95% interval; the controls' coverage stands below it. By cluster: a dash where the next "
            "layer was not clustered."
        ),
        columns=("step and criterion", "from", "to", "at the edge", "coverage", "rows"),
        groups=groups,
    )


def _crossings(scaling: Scaling) -> Table:
    def row(hook: ScaledHook) -> tuple[str, ...]:
        exact, kinds = hook.exact, hook.kinds
        ends = (kinds.scaled.hamming, kinds.random.hamming, kinds.about_mean.hamming)
        return (
            hook.hook,
            count(hook.boundaries),
            spread(hook.crossings.down, count),
            spread(hook.crossings.up, count),
            *(NOT_MEASURED if one is None else f"{percent(one.median[0])} / {percent(one.median[-1])}" for one in ends),
            f"{spread(exact.down, count)} (grid: {spread(exact.sampled_down, count)})" if exact else NOT_MEASURED,
            f"{spread(exact.up, count)} (grid: {spread(exact.sampled_up, count)})" if exact else NOT_MEASURED,
            hook.natural.clustering or "none",
            f"{count(hook.natural.in_cluster)} of {count(scaling.rows)}",
        )

    return Table(
        title="Boundaries on the way",
        how_to_read=(
            f"From factor 1 down to {significant(scaling.factors[0])} and up to {significant(scaling.factors[-1])}: "
            "bits of later layers that change along the grid, a lower bound, and the share of bits that differ at "
            "either end, beside the controls'. In the first layer alone the crossings are exact where the value is "
            "what it reads. The natural range is that of the row's cluster, or of all rows where it has none."
        ),
        columns=(
            *("hook", "later boundaries", "crossed down", "crossed up", "bits that differ, down / up"),
            *("random step", "about the mean", "first layer, exact, down", "first layer, exact, up"),
            *("clustering", "rows in a cluster"),
        ),
        groups={"": [row(hook) for hook in scaling.hooks]},
    )


def _of_clusters(scaling: Scaling) -> list[Table]:
    groups = {
        f"{hook.hook} ({hook.natural.clustering}); all rows {significant(hook.validity.kl.low.median)} to "
        f"{significant(hook.validity.kl.high.median)}": [
            (f"cluster {one.cluster}", count(one.rows), significant(one.low), significant(one.high))
            for one in hook.natural.clusters
        ]
        for hook in scaling.hooks
        if hook.natural.clusters
    }
    table = Table(
        title="Validity by cluster",
        how_to_read="The median interval by KL of the scaled rows of a cluster, beside that of all rows.",
        columns=("cluster", "rows", "from", "to"),
        groups=groups,
    )
    return [table] if groups else []


def _verdict(scaling: Scaling) -> str:
    inside = [hook.hook for hook in scaling.hooks if (_coverage(hook.validity.kl) or 0) < 0.5]
    own = [_coverage(hook.validity.kl) for hook in scaling.hooks]
    random = [_coverage(hook.validity.kl_random) for hook in scaling.hooks]
    about = [_coverage(hook.validity.kl_about_mean) for hook in scaling.hooks]
    wider = sum(_width(hook.validity.kl) > _width(hook.validity.kl_random) for hook in scaling.hooks)  # in log α
    return (
        f"The data's own range of norms lies inside the validity interval of {extent(own, percent)} of the rows, by "
        f"hook (random steps of the same length: {extent(random, percent)}; about the mean: {extent(about, percent)}). "
        + (
            f"At {', '.join(inside)} it does so for less than half: there direction alone does not fix meaning. "
            if inside
            else ""
        )
        + f"Rows bear scaling over a wider range than random steps at {wider} of {len(scaling.hooks)} hooks, so the "
        f"step's length alone explains {'little' if 2 * wider > len(scaling.hooks) else 'much'} of what scaling does. "
        f"{count(scaling.rows)} rows."
    )


def _coverage(found: Validity) -> Number | None:
    return found.coverage.value


def _width(found: Validity) -> Number:
    low, high = found.low.median, found.high.median
    return high / low if low and high else 0.0
