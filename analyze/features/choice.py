"""Choose the dictionaries that get feature pages, by the names in `analyze.features`.

This module does not import torch, so a stage with nothing to do ends at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from analyze.ladders import ladder_of, ladders, trained
from winnow.errors import UserError, nearest

FOLDER = "dictionaries/"
WORDS = ("auto", "all", "none")


def refuse_unknown(names: Sequence[str], paths: Iterable[str]) -> None:
    """Raise `UserError` if a name matches none of the dictionaries at `paths`."""
    short = [path.removeprefix(FOLDER) for path in paths]
    for name in names:
        if name not in WORDS and not any(_matches(path, name) for path in short):
            close = nearest(name, [*short, *(path.rpartition("/")[2] for path in short)])
            raise UserError(
                f"analyze.features = {name}: no finished dictionary has this name{close}; give HOOK/NAME or NAME as "
                "in the folder dictionaries (* and ? are wildcards), or auto, all or none"
            )


def choose(names: Sequence[str], metrics: Mapping[str, Any], hooks: Sequence[str] = ("*",)) -> list[Mapping[str, Any]]:
    """Choose entries of `metrics["dictionaries"]`, ladder by ladder, each from the smallest to the largest.

    `auto` is the largest topk dictionary at the first hook that has one (another architecture if no hook has), and the
    other sizes of its ladder, with which its latents are compared. Controls get pages only if they are named. `hooks`
    are `harvest.hooks`, which set the order of hooks.
    """
    known = [entry for ladder in ladders(metrics).values() for entry in ladder]
    if "none" in names:
        return []
    if {"auto", "all"}.intersection(names):
        known = trained(known)
    if "auto" in names:
        places = [next((i for i, name in enumerate(hooks) if fnmatchcase(e["hook"], name)), len(hooks)) for e in known]
        ranked = zip(known, places, strict=True)
        best = lambda e, place: (e["architecture"] != "topk", place, e["hook"], -e["n_latents"])  # noqa: E731
        largest = min(ranked, key=lambda ranked: best(*ranked), default=(None,))[0]
        return [e for e in known if largest is not None and ladder_of(e) == ladder_of(largest)]
    if "all" in names:
        return known
    return [e for e in known if any(_matches(e["path"].removeprefix(FOLDER), name) for name in names)]


def other_sizes(entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the dictionaries on the same ladder that have another size."""
    ladder = ladders(metrics)[ladder_of(entry)]
    return [other for other in ladder if other["n_latents"] != entry["n_latents"]]


def _matches(path: str, name: str) -> bool:
    return fnmatchcase(path, name) or fnmatchcase(path.rpartition("/")[2], name)
