"""What trained dictionaries score in controls (2602.14111): what the scores give for nothing.

A control stands for its twin, the trained dictionary of the same hook, architecture, size, sparsity and seed. Looked up
in it are the twin itself, and the sizes next to it: what they score in the control they would score in the twin if it
had learned nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.collect.comparisons import Comparisons
from analyze.ladders import neighbouring_sizes, trained
from analyze.schema.comparisons import ForNothing
from analyze.schema.dictionaries import Dictionary as Entry
from analyze.schema.record import keys_of, read_record
from winnow.runtime.to_json import to_json

ENDS = ("from", "to", "control")
SAME = ("hook", "architecture", "n_latents", "sparsity", "seed")


def twin_of(control: Mapping[str, Any], entries: Sequence[Any]) -> Any | None:
    """Find the trained dictionary that a control stands for; None if it is not finished."""
    alike = (entry for entry in trained(entries) if all(entry[key] == control[key] for key in SAME))
    return next(alike, None)


def for_nothing(
    entries: Sequence[Entry], comparisons: Comparisons, known: Mapping[tuple[str, str], ForNothing]
) -> list[ForNothing]:
    """Look up each control's twin, and the twin's neighbours in size, in the control, but for what is `known`."""
    scores = [name for name in keys_of(ForNothing) if name not in ENDS]
    neighbours = neighbouring_sizes(trained(entries))
    found = []
    for control in entries:
        if control.control is None or (twin := twin_of(control, entries)) is None:
            continue
        beside = [a if b is twin else b for a, b in neighbours if twin is a or twin is b]
        for source in (twin, *beside):
            one = known.get((source.path, control.path))
            if one is None:
                of = comparisons.directions(source, control).scores
                ends = {"from": source.path, "to": control.path, "control": control.control}
                one = read_record(ForNothing, to_json(ends | {name: of[name] for name in scores}), source.path)
            found.append(one)
    return found
