"""Toy data beside real ones: which of the toy's assumptions hold of the activations that it stands for.

Each is measured on the toy data themselves too: what was set is not always what an analysis of rows would see.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from analyze.format import NOT_MEASURED, Number, decimal, listing, percent, significant
from analyze.report.section import Table
from analyze.report.sections.toy import basis, centred, evenly, outliers, positions
from analyze.schema.record import measured

Record = Mapping[str, Any]
AS_STRONG = 2  # times the toy's dependence, or its excess kurtosis, up to which the real data are like it
GEOMETRIC = 0.95  # R^2, or the toy's own where that is less


class ToyBesideReal(NamedTuple):
    """One assumption: what was set, what both data show, and whether it holds of the real ones (None: not known)."""

    assumption: str
    was_set: str
    toy: str
    real: str
    holds: bool | None


def toy_real_tables(metrics: Record) -> list[Table]:
    groups = {label: [_row(one) for one in compared] for label, compared in _compared(metrics).items()}
    table = Table(
        title="Toy and real activations, side by side",
        how_to_read=(
            "What the toy data assume, the setting, what the toy data and these activations show by the same "
            "measures, and whether the assumption holds (a dash where it is unknown, or the toy data break it too). "
            "The fewer fail, the more confidently a toy result carries over. Features are the true ones of the toy "
            "data, and the latents of the largest dictionary of the real data."
        ),
        columns=("assumption", "set in the toy", "measured in the toy", "measured here", "holds"),
        groups=groups,
    )
    return [table] if groups else []


def toy_real_words(metrics: Record) -> list[str]:
    """Name in a sentence for each real hook what fails."""
    said = []
    for label, compared in _compared(metrics).items():
        failing = [one.assumption for one in compared if one.holds is False]
        known = [one for one in compared if one.holds is not None]
        broken = (
            f"these activations break {len(failing)} of {len(known)}: {listing(failing, 10)}"
            if failing
            else "all of them hold"
        )
        said.append(f"Assumptions of the toy data, checked at {label}: {broken}.")
    return said


def _compared(metrics: Record) -> dict[str, list[ToyBesideReal]]:
    hooks = metrics.get("activations") or []
    toys = [hook for hook in hooks if hook.get("kind") == "toy"]
    truth = metrics.get("truth")
    if not toys or not truth:
        return {}
    of_toy = [hook for hook in toys if hook["width"] == truth["d_model"]] or toys
    return {
        hook["hook"]: [
            *(_of_features(truth, latents) if (latents := _latents(metrics, hook)) else []),
            *_of_activations(truth, of_toy[0], hook),
        ]
        for hook in hooks
        if hook.get("kind") != "toy"
    }


def _latents(metrics: Record, hook: Record) -> Record:
    """Give what is known of the codes of the largest dictionary at a hook of a run; nothing without one."""
    name = hook["hook"].removesuffix(f" ({hook['run']})")
    own = [
        d
        for d in metrics.get("dictionaries") or []
        if d["hook"] == name and measured(d, "toy") and measured(d, "options.run") in (None, hook.get("run"))
    ]
    return max(own, key=lambda d: d["n_latents"])["toy"] if own else {}


def _of_features(truth: Record, real: Record) -> list[ToyBesideReal]:
    settings, toy = truth["settings"], truth["codes"]
    shares = [measured(codes, "active") for codes in (toy, real)]
    r2 = [measured(codes, "decay.r2") for codes in (toy, real)]
    together = [_dependence(codes) for codes in (toy, real)]
    laws = [measured(codes, "magnitudes.best") for codes in (toy, real)]
    return [
        ToyBesideReal(
            "few features at a time",
            f"{settings['active']:g} of {settings['n_features']:,}",
            percent(shares[0]),
            percent(shares[1]),
            measured(real, "agrees.sparsity"),
        ),
        ToyBesideReal(
            "rates fall geometrically",
            _decay(settings),
            f"R² {decimal(r2[0], 2)}",
            f"R² {decimal(r2[1], 2)}",
            None if None in r2 else r2[1] >= min(GEOMETRIC, r2[0]),
        ),
        ToyBesideReal(
            "no more dependence between features",
            f"{percent(settings['common'])} common, {settings['causes']} causes",
            _times_shuffled(together[0]),
            _times_shuffled(together[1]),
            _no_more(together[1], together[0], 1),
        ),
        ToyBesideReal(
            "magnitudes of that law",
            settings["magnitude"],
            _law(laws[0]),
            _law(laws[1]),
            None if None in laws else laws[0] == laws[1],
        ),
    ]


def _decay(settings: Record) -> str:
    if settings["decay_form"] == "zipf":
        return f"1 / rank^{settings.get('zipf_exponent', 1):g}"
    return f"λ {settings['decay']:g}, {settings['decay_form']}"


def _of_activations(truth: Record, toy: Record, real: Record) -> list[ToyBesideReal]:
    where = f"directions: {truth['settings']['directions']}"
    judged: list[tuple[str, str, Callable[[Record], tuple[bool | None, str]]]] = [
        ("no special basis", where, basis),
        ("no outlier dimensions", where, outliers),
        ("dimensions evenly filled", where, evenly),
        ("rows scatter around zero", "magnitudes above zero", centred),
        ("positions alike", "one position", positions),
    ]
    tails = [_tails(hook) for hook in (toy, real)]
    shapes = [
        f"excess kurtosis {significant(_tails(hook), 2)}, {_law(measured(hook, 'fits.best'))}" for hook in (toy, real)
    ]
    return [
        *(
            # what the toy data themselves break is no assumption that real ones could fail
            ToyBesideReal(
                name, was_set, judge(toy)[1], judge(real)[1], None if judge(toy)[0] is False else judge(real)[0]
            )
            for name, was_set, judge in judged
        ),
        ToyBesideReal(
            "tails no heavier",
            "sums of sparse features",
            shapes[0],
            shapes[1],
            _no_more(tails[1], tails[0], 0.1),
        ),
    ]


def _no_more(real: Number | None, toy: Number | None, least: Number) -> bool | None:
    return None if real is None or toy is None else real <= AS_STRONG * max(least, toy)


def _law(name: str | None) -> str:
    return (name or NOT_MEASURED).replace("_", "-")


def _times_shuffled(dependence: Number | None) -> str:
    return NOT_MEASURED if dependence is None else f"|φ| {significant(dependence, 2)} × shuffled"


def _dependence(codes: Record) -> Number | None:
    phi, null = measured(codes, "dependence.phi"), measured(codes, "dependence.null")
    return phi / null if phi is not None and null else None


def _tails(hook: Record) -> Number | None:
    known = [value for value in measured(hook, "kurtosis") or [] if value is not None]
    return median(known) if known else None


def _row(one: ToyBesideReal) -> Sequence[str]:
    return (*one[:4], {True: "✓", False: "✗ fails", None: NOT_MEASURED}[one.holds])
