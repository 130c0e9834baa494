"""Write docs/reference/metrics.md from the schema: `python -m analyze.schema`."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, get_args, get_origin

from analyze.schema.metric import Metric
from analyze.schema.metrics import LATENTS_OF_LINEAGE, LATENTS_OF_PAIR, METRICS, Column
from analyze.schema.record import Record, keys_of, parts_of
from analyze.schema.report import VERSION, Metrics

PAGE = Path("docs/reference/metrics.md")
SECTIONS = {  # where a formula stands: page, and the heading of the section
    "evaluation": ("../guide/analyze.md", "`version`, `run`, `evaluation`, `shown`"),
    "dictionaries": ("../guide/analyze.md", "`dictionaries`: one entry for each"),
    "pairs": ("../guide/analyze.md", "`pairs`: neighbouring sizes, both ways; `ceilings`: neighbouring seeds"),
    "families": ("../guide/analyze.md", "`families`: which feature comes from which"),
    "choosing": ("../guide/analyze.md", "`choosing`: size and sparsity together"),
    "activations": ("../guide/analyze.md", "`activations`: one entry for each harvested hook"),
    "truth": ("../results/truth.md", "`truth`: what the data are like"),
    "truth of a dictionary": ("../results/truth.md", "`truth` of a dictionary"),
    "seeds": ("../results/truth.md", "`groups` and `differences`: seeds"),
    "truth of a grid": ("../results/truth.md", "`choosing`: `truth` and `verdict`"),
}
WRITTEN = {
    "count": "whole number",
    "percent": "per cent",
    "decimal": "{} decimal places",
    "significant": "{} significant digits",
}


def reference() -> str:
    """Compose the page: a row for each metric, the columns of the tables of latents, and every key by its place."""
    return "\n".join(_lines()) + "\n"


def anchor(heading: str) -> str:
    """Name a heading in a link as GitHub does: lower case, only letters, digits, hyphens and underscores."""
    return "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _lines() -> Iterator[str]:
    yield from (
        "# Metrics, and every key of `metrics.json`",
        "",
        "Made by `python -m analyze.schema` from `analyze/schema/`; change it there.",
        "",
        f"This is version {VERSION} of `metrics.json`. A value that was not measured is `null`; a key that is missing,",
        "or that is not listed here, is refused by name.",
    )
    for kind, metrics in groupby(METRICS, key=lambda one: one.of):
        yield from ("", f"## Metrics of a record `{kind.__name__}`", "", _said(kind), "")
        yield from ("| key | title | unit | written as | better | formula |", "| --- | --- | --- | --- | --- | --- |")
        yield from map(_row, metrics)
    for name, columns in (("pairs/*.csv", LATENTS_OF_PAIR), ("lineages/*.csv", LATENTS_OF_LINEAGE)):
        yield from ("", f"## Columns of `{name}`", "", "| column | meaning |", "| --- | --- |")
        yield from map(_column, columns)
    yield from ("", "## Every key", "", "`[]` is an entry of a list, `*` any name. Every key is there in every file.")
    for kind, places in _places().items():
        yield from ("", f"**{kind.__name__}** ({', '.join(f'`{place}`' for place in places)}). {_said(kind)}", "")
        yield ", ".join(f"`{key}`" for key in keys_of(kind)) + "."


def _row(one: Metric) -> str:
    section, paragraph = one.formula
    page, heading = SECTIONS[section]
    title, better = one.title.replace("|", "\\|"), "" if one.better == "neither" else one.better
    written = WRITTEN[one.form.kind].format(one.form.digits)
    return f"| `{one.path}` | {title} | {one.unit} | {written} | {better} | [{paragraph}]({page}#{anchor(heading)}) |"


def _column(column: Column) -> str:
    return f"| `{column.name}` | {column.meaning} |"


def _said(kind: type[Record]) -> str:
    return (kind.__doc__ or "").strip()


def _places() -> dict[type[Record], list[str]]:
    """List every kind of record with the places at which it stands."""
    found: dict[type[Record], list[str]] = {}

    def walk(kind: type[Record], place: str) -> None:
        places = found.setdefault(kind, [])
        places.append(place or "metrics.json")
        for key, (_, held) in keys_of(kind).items():
            for inner in parts_of(held):
                below = f"{place}.{key}" if place else key
                walk(inner, below + _inside(held))

    walk(Metrics, "")
    return found


def _inside(held: Any) -> str:
    """Mark a record that stands in a list or under a name."""
    origins = {get_origin(part) for part in (held, *get_args(held))}
    return "[]" if list in origins else ".*" if dict in origins else ""
