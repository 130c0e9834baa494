"""Massive rows, the first thing that the report says where there are any: how many, where, and what they do."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analyze.format import count, listing, percent
from analyze.report.section import Note, Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import MASSIVE, MASSIVE_SHARE, MASSIVE_VARIANCE
from analyze.schema.record import measured
from winnow.massive.description import Massive

Hook = Mapping[str, Any]
TREATED = {
    True: "They are left out of training, baselines and every figure but those over all rows, and keep their own value "
    "where the loss is measured.",
    False: "They are taken in: the variance, and every figure that rests on it, is largely about them.",
}
HOOK = (MASSIVE, MASSIVE_SHARE, MASSIVE_VARIANCE)


def massive_line(metrics: Mapping[str, Any]) -> str:
    """Say in a few words at which hook massive rows weigh most; "" where there are none."""
    hooks = _hooks(metrics)
    if not hooks:
        return ""
    worst = max(hooks, key=lambda hook: hook["massive"]["share_of_variance"])
    found = worst["massive"]
    treated = "left out" if found["left_out"] else "taken in"
    several = f" (and at {len(hooks) - 1} more)" if len(hooks) > 1 else ""
    return (
        f"{count(found['rows'])} massive rows of {count(found['all_rows'])} make up "
        f"{percent(found['share_of_variance'])} of the variance at {worst['hook']}{several}: {treated}"
    )


def massive_notes(metrics: Mapping[str, Any]) -> Iterator[Note]:
    """Yield a caveat that names the massive rows of each hook."""
    for hook in _hooks(metrics):
        yield Note(f"Massive rows: {count(hook['massive']['rows'])} at {hook['hook']}", massive_words(hook))


def massive_words(hook: Hook) -> str:
    """Name a hook's massive rows, and say what was done about them."""
    record = hook["massive"]
    known = dict(zip((token for token, _ in record["tokens"]), record["token_texts"] or [], strict=False))
    return f"{Massive.from_json(record).words(known)} {TREATED[record['left_out']]}"


def massive_table(hooks: Sequence[Hook]) -> list[Table]:
    """Tabulate the massive rows of the hooks that have any."""
    known = [hook for hook in hooks if measured(hook, "massive")]
    table = Table(
        title="Massive rows",
        how_to_read=(
            "Rows whose norm is far above the median of their hook: a few can be most of the variance, and a "
            "dictionary, PCA or a mean is then about them. Positions, tokens and dimensions are the most frequent."
        ),
        columns=("hook", *titles(HOOK), "norm above", "largest norm", "positions", "tokens", "dimensions", "they are"),
        groups={"": [_row(hook) for hook in known]},
    )
    return [table] if known else []


def _row(hook: Hook) -> tuple[str, ...]:
    found = hook["massive"]
    tokens = found["token_texts"] or [str(token) for token, _ in found["tokens"]]
    return (
        *(hook["hook"], *texts(hook, HOOK)),
        f"{count(found['bound'] * found['median_norm'])} ({found['bound']:g} × median)",
        count(found["largest_norm"]),
        listing([str(position) for position, _ in found["positions"]]),
        listing([repr(token) for token in tokens]) or "none",
        listing([f"{dimension:.0f}: {percent(share)}" for dimension, share in found["dimensions"]]) or "none alone",
        "left out" if found["left_out"] else "taken in",
    )


def _hooks(metrics: Mapping[str, Any]) -> list[Hook]:
    return [hook for hook in metrics.get("activations") or [] if measured(hook, "massive")]
