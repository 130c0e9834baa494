"""The assumptions that toy data make of activations and features, and which of them these data break."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analyze.format import NOT_MEASURED, Number, decimal, percent, significant
from analyze.ladders import ladders
from analyze.report.section import Table
from analyze.schema.metrics import DIMENSIONS_FILLED, FILLED_STANDARDISED, TYPICAL_BASIS, TYPICAL_ROTATED, WIDTH
from analyze.schema.record import measured

Record = Mapping[str, Any]
EVEN = 0.5  # participation ratio, of the width, from which the dimensions count as evenly filled
STEADY = 1.1  # largest mean norm of a position over the smallest, up to which positions count as alike
SAME_TAILS = 2  # kurtosis along the basis over that along random directions, up to which the basis is not special
TAILED = 0.1  # excess kurtosis along the basis below which it is too near a normal law for a basis to matter


def toy_tables(metrics: Mapping[str, Any]) -> list[Table]:
    hooks = metrics.get("activations") or []
    codes = {"Dimensions of the activations (their positive part)": _named(hooks, lambda hook: hook["hook"])} | {
        ladder.label: _named(dictionaries, lambda d: f"{d['n_latents']:,} latents")
        for ladder, dictionaries in ladders(metrics).items()
    }
    codes = {name: records for name, records in codes.items() if records}
    return [*([_activations(hooks)] if hooks else []), *([_codes(codes)] if codes else [])]


def _named(records: Sequence[Record], name: Callable[[Record], str]) -> list[tuple[str, Record]]:
    return [(name(record), record["toy"]) for record in records if measured(record, "toy")]


def _activations(hooks: Sequence[Record]) -> Table:
    return Table(
        title="What toy data assume of activations",
        how_to_read=(
            "Toy data are sums of directions that are uniform on the sphere and active at random: no dimension is "
            "special, all are equally filled, rows scatter around zero, and positions do not differ. ✓ these "
            "activations agree, ✗ they do not. Shown are the median excess kurtosis along dimensions and along random "
            "directions (each dimension standardised), the participation ratio of the variance and, where outlier "
            "dimensions decide it, of standardised dimensions, the mean row's share of the mean square without the "
            "outlier dimensions, and how far apart the mean norms of positions are."
        ),
        columns=(
            *("hook", "no special basis", "no outlier dimensions", "evenly filled", "centred", "positions alike"),
        ),
        groups={
            "": [
                (hook["hook"], *(_judged(*judge(hook)) for judge in (basis, outliers, evenly, centred, positions)))
                for hook in hooks
            ]
        },
    )


def _codes(groups: Mapping[str, Sequence[tuple[str, Record]]]) -> Table:
    return Table(
        title="What toy data assume of features",
        how_to_read=(
            "Toy features are sparse (at most a tenth active at a time), their rates fall geometrically (R² of log "
            "rate on rank at least 0.95), they fire independently (mean |φ| at most twice that of shuffled rows), and "
            "their magnitudes are uniform from zero. ✓ the latents, or the activations' dimensions, agree, ✗ they do "
            "not."
        ),
        columns=("codes", "active at a time", "rates fall geometrically", "independent", "magnitudes"),
        groups={
            name: [
                (
                    label,
                    _marked(toy, "sparsity", percent(measured(toy, "active"))),
                    _marked(toy, "decay", f"R² {decimal(measured(toy, 'decay.r2'), 2)}"),
                    _marked(
                        toy,
                        "independence",
                        f"|φ| {significant(measured(toy, 'dependence.phi'), 2)}, shuffled "
                        f"{significant(measured(toy, 'dependence.null'), 2)}",
                    ),
                    _marked(toy, "magnitudes", (measured(toy, "magnitudes.best") or NOT_MEASURED).replace("_", "-")),
                )
                for label, toy in records
            ]
            for name, records in groups.items()
        },
    )


def _marked(toy: Record, key: str, text: str) -> str:
    return _judged(measured(toy, f"agrees.{key}"), text)


def _judged(agrees: bool | None, text: str) -> str:
    return NOT_MEASURED if agrees is None else f"{'✓' if agrees else '✗'} {text}"


def basis(hook: Record) -> tuple[bool | None, str]:
    """Judge whether the basis is like any other, and say by what; likewise below."""
    along, rotation = (TYPICAL_BASIS.value(hook), TYPICAL_ROTATED.value(hook))
    if along is None or rotation is None:
        return None, NOT_MEASURED
    alike = along <= max(TAILED, SAME_TAILS * rotation)
    return alike, f"{significant(along, 2)}, rotated {significant(rotation, 2)}"


def outliers(hook: Record) -> tuple[bool | None, str]:
    found = measured(hook, "outlier_dimensions")
    return (None, NOT_MEASURED) if found is None else (not found, f"{len(found)}" if found else "none")


def evenly(hook: Record) -> tuple[bool | None, str]:
    ratio, width = DIMENSIONS_FILLED.value(hook), WIDTH.value(hook)
    if ratio is None or not width:
        return None, NOT_MEASURED
    standardised = FILLED_STANDARDISED.value(hook)
    others = measured(hook, "outlier_dimensions") and standardised is not None
    more = f", standardised {significant(standardised, 2)}" if others else ""
    return ratio >= EVEN * width, f"{significant(ratio, 2)} of {width:,}{more}"


def centred(hook: Record) -> tuple[bool | None, str]:
    """Judge by the share of the mean square that the mean row holds, without the outlier dimensions."""
    mean, variance = measured(hook, "mean"), measured(hook, "variance")
    if not mean or not variance:
        return None, NOT_MEASURED
    apart = set(measured(hook, "outlier_dimensions") or [])
    kept = [i for i in range(len(mean)) if i not in apart]
    square: Number = sum(mean[i] * mean[i] for i in kept)
    total = square + sum(variance[i] for i in kept)
    return (square <= 0.01 * total, f"{percent(square / total)} is mean") if total else (None, NOT_MEASURED)


def positions(hook: Record) -> tuple[bool | None, str]:
    norms = [norm for norm in measured(hook, "position_norms") or [] if norm]
    if not norms:
        return None, NOT_MEASURED
    ratio = max(norms) / min(norms)
    return ratio <= STEADY, f"{100 * (ratio - 1):.0f}% apart"
