"""Codes: how soft they are, and what the loss gains as they are made hard."""

from collections.abc import Sequence

from analyze.format import NOT_MEASURED, Number, count, decimal, percent, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import by_layer, extent, spread
from analyze.schema.polytopes.codes import Added, Codes, CodesOfLayer

NEARLY_HARD = 0.1  # bits a neuron


def codes_part(codes: Codes) -> Part:
    return Part(
        name="polytopes-codes",
        title="How soft are the codes?",
        charts=[_bits(codes), _hardening(codes)],
        tables=[_layers(codes), _losses(codes)],
        verdict=_verdict(codes),
    )


def _bits(codes: Codes) -> Chart:
    names = tuple(str(layer.layer) for layer in codes.layers)
    twin = by_layer(codes.untrained)

    def panel(title: str, y: str, values: Sequence[tuple[Number | None, Number | None]]) -> Panel:
        own, others = zip(*values, strict=True)
        place = list(range(len(names)))
        series = [Series(name="model", x=place, y=own, mark="linked")]
        if twin:
            series.append(Series(name="untrained twin", x=place, y=others, mark="linked", reference=True))
        axis = Axis(title="layer", categories=names)
        return Panel(title=title, x=axis, y=Axis(title=y, range=(0, 1.02)), series=tuple(series))

    pairs = [(layer, twin.get(layer.layer)) for layer in codes.layers]
    return Chart(
        name="polytopes-bits",
        title="Undecided neurons, by layer",
        how_to_read=(
            "0 bits: every neuron is on or off, as with ReLU, and a code is a polytope. 1 bit: every neuron is "
            "halfway, and the bits say little. Dashed: the same network before training."
        ),
        panels=(
            panel("bits of uncertainty per neuron", "bits", [(a.bits, b.bits if b else None) for a, b in pairs]),
            panel(
                "undecided neurons, between 0.1 and 0.9",
                "share of neurons",
                [(a.undecided, b.undecided if b else None) for a, b in pairs],
            ),
        ),
    )


def _hardening(codes: Codes) -> Chart:
    loss = codes.loss
    places = list(range(len(loss.sharpness)))
    axis = Axis(title="sharpness η (1: the model itself)", categories=_sharpness(codes))
    y = Axis(title="cross-entropy added (nats)")
    layers = Axis(title="layer made hard alone", categories=tuple(str(one.layer) for one in loss.hard_layers))
    return Chart(
        name="polytopes-hardening",
        title="The hardening curve",
        how_to_read=(
            "What the loss gains where every neuron is made more decided, up to plain on/off bits at ∞. Where the "
            "curve is flat towards ∞, on/off bits tell all that the layer does. Its minimum must be at 1, the dashed "
            "line: the model as it was trained."
        ),
        panels=(
            Panel(
                title="all layers", x=axis, y=y, series=(_added("made harder", loss.curve), _none_added(len(places)))
            ),
            Panel(
                title="one layer at infinity",
                x=layers,
                y=y,
                series=(_added("made harder", loss.hard_layers, "points"), _none_added(len(loss.hard_layers))),
            ),
        ),
    )


def _added(name: str, values: Sequence[Added], mark: str = "linked") -> Series:
    return Series(
        name=name,
        x=list(range(len(values))),
        y=[one.added for one in values],
        low=[None if one.added is None or one.error is None else one.added - 2 * one.error for one in values],
        high=[None if one.added is None or one.error is None else one.added + 2 * one.error for one in values],
        mark="points" if mark == "points" else "linked",
    )


def _none_added(places: int) -> Series:
    return Series(name="the model itself", x=[0, max(places - 1, 0)], y=[0, 0], reference=True)


def _sharpness(codes: Codes) -> tuple[str, ...]:
    return tuple("∞" if value is None else f"{value:g}" for value in codes.loss.sharpness)


def _layers(codes: Codes) -> Table:
    twin, hard = by_layer(codes.untrained), by_layer(codes.loss.hard_layers)

    def row(layer: CodesOfLayer) -> tuple[str, ...]:
        other, alone = twin.get(layer.layer), hard.get(layer.layer)
        return (
            str(layer.layer),
            decimal(layer.bits),
            decimal(other.bits if other else None),
            percent(layer.undecided),
            percent(other.undecided if other else None),
            spread(layer.on_rate, percent),
            spread(other.on_rate if other else None, percent),
            f"{count(layer.never)} / {count(layer.always)}",
            f"{count(other.never)} / {count(other.always)}" if other else NOT_MEASURED,
            count(layer.distinct_codes),
            count(other.distinct_codes if other else None),
            significant(layer.hard_fvu),
            significant(other.hard_fvu if other else None),
            _with_error(alone),
        )

    return Table(
        title="Codes by layer",
        how_to_read=(
            "Each number beside the untrained twin's. On: the share of rows with h > 0, the median neuron's and the 5% "
            "and 95% quantiles. FVU of on/off bits: what of the layer's output is lost where bits replace the soft "
            "code (a dash: maps are quadratic given the code). Added: what the loss gains where this layer alone is "
            "hard, ± the standard error over sequences; its control is 0, the model itself."
        ),
        columns=(
            *("layer", "bits", "bits, twin", "undecided", "undecided, twin", "on, by neuron", "on, twin"),
            *("never / always on", "never / always, twin", "distinct codes", "distinct, twin"),
            *("FVU of on/off bits", "FVU, twin", "nats added, hard"),
        ),
        groups={"": [row(layer) for layer in codes.layers]},
    )


def _losses(codes: Codes) -> Table:
    loss = codes.loss
    return Table(
        title="Loss by sharpness",
        how_to_read=(
            f"Cross-entropy on {count(loss.tokens)} tokens of {count(loss.sequences)} sequences; the model itself has "
            f"{decimal(loss.clean)} nats. Added, ± the standard error over sequences; the control is η = 1."
        ),
        columns=("", *(f"η = {name}" for name in _sharpness(codes))),
        groups={"": [("nats added, all layers", *map(_with_error, loss.curve))]},
    )


def _with_error(one: Added | None) -> str:
    if one is None or one.added is None:
        return NOT_MEASURED
    return decimal(one.added) if one.error is None else f"{decimal(one.added)} ± {decimal(one.error)}"


def _verdict(codes: Codes) -> str:
    loss = codes.loss
    own = [layer.bits for layer in codes.layers]
    twin = f" (untrained twin: {extent([one.bits for one in codes.untrained])})" if codes.untrained else ""
    known = {eta: one.added for eta, one in zip(loss.sharpness, loss.curve, strict=True) if one.added is not None}
    said = f"A neuron is undecided by {extent(own)} bits{twin}"
    known_bits = [bits for bits in own if bits is not None]
    if known_bits and max(known_bits) < NEARLY_HARD:
        said += ": on/off bits are nearly all there is. "
    else:
        said += ": codes are soft, and a polytope's border is no edge but a slope. "
    if None in known:
        said += f"On/off bits in every layer cost {decimal(known[None])} nats over {decimal(loss.clean)}. "
    if known:
        best = min(known, key=lambda eta: known[eta])
        place = "∞" if best is None else f"{best:g}"
        said += (
            "The curve's minimum is at η = 1, as it must be."
            if best == 1 or known.get(1) == known[best]
            else f"The curve's minimum is at η = {place}, not at 1: mistrust this measurement."
        )
    return said.strip()
