"""Write the data of feature pages as script files, since a page opened from disk can load scripts but not fetch.

    text.js         every token's text, and the held-out sequences
    latents.js      the fields of all latents that list, sort and search need
    0.js, 1.js, …   everything else, `CHUNK` latents each

Each file calls `winnowData(VALUE)`. The code that writes a key explains it; numbers have three digits.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyze.compare.families import COSINE, MASKED
from analyze.features.best import AFTER, BEFORE, Events
from analyze.features.examples import FeatureExamples
from analyze.features.logits import Promoted
from analyze.features.neighbours import Nearest, Relative
from winnow.runtime.to_json import to_json

CHUNK = 128
PEAKS = 5  # peak tokens per latent in the list and the search
DIGITS = 3


class Feature(NamedTuple):
    """All contents of one dictionary's pages."""

    examples: FeatureExamples
    promoted: Promoted | None
    readout: str  # the path from directions to logits, in words
    nearest: Mapping[str, Nearest]  # path of another size -> the nearest latents in it
    parents: Mapping[int, Sequence[Relative]]
    children: Mapping[int, Sequence[Relative]]


def write_text(folder: Path, texts: Sequence[str], sequences: NDArray[np.int32]) -> None:
    """Write the vocabulary and the sequences [sequence, context] as token numbers."""
    value = {"tokens": texts, "context": sequences.shape[1], "sequences": sequences.ravel().tolist()}
    _write(folder, "text", value)


def write_feature(folder: Path, feature: Feature, sequences: NDArray[np.int32]) -> None:
    """Write the pages' data of one dictionary."""
    _write(folder, "latents", _overview(feature, sequences.ravel()))
    n_latents = len(feature.examples.firings)
    for number, start in enumerate(range(0, n_latents, CHUNK)):
        _write(folder, str(number), _chunk(feature, slice(start, min(start + CHUNK, n_latents))))


def peak_tokens(top: Events, text: NDArray[np.int32], count: int = PEAKS) -> list[list[list[int]]]:
    """List the peak tokens of each latent's top examples: [token, per cent of their activations], most first."""
    tokens, weights = top.tokens.numpy(), top.activations.double().numpy()
    found = []
    for places, values in zip(tokens, weights, strict=True):
        shares: dict[int, float] = {}
        for place, value in zip(places[places >= 0], values[places >= 0], strict=True):
            token = int(text[place])
            shares[token] = shares.get(token, 0.0) + value
        total = sum(shares.values())
        ranked = sorted(shares.items(), key=lambda item: -item[1])[:count]
        found.append([[token, round(100 * share / total)] for token, share in ranked])
    return found


def significant_digits(values: NDArray[Any], digits: int = DIGITS) -> NDArray[np.float64]:
    """Round each number to `digits` significant digits, to shorten its text; what is not finite becomes NaN."""
    values = np.asarray(values, dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(divide="ignore"):
        size = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    # positive powers of ten are exact, negative ones are not: 0.3 must not become 0.30000000000000004
    up = 10.0 ** np.maximum(digits - 1 - size, 0)
    down = 10.0 ** np.maximum(size - digits + 1, 0)
    return np.round(values * up / down) * down / up


def _overview(feature: Feature, text: NDArray[np.int32]) -> dict[str, Any]:
    """Build the fields of the list, with one entry per latent in each."""
    examples = feature.examples
    return {
        "rows": examples.rows,
        "firings": examples.firings.tolist(),
        "maxima": significant_digits(examples.maxima.numpy()).tolist(),
        "means": significant_digits(examples.means.numpy()).tolist(),
        "peaks": peak_tokens(examples.top, text),
        "promoted": None if feature.promoted is None else feature.promoted.tokens.tolist(),
        "readout": feature.readout,
        "window": [BEFORE, AFTER],
        "chunk": CHUNK,
        "related": [COSINE, MASKED],  # least cosines of relatives
        # mean largest cosine by chance; `nearest` and relatives refer to other sizes by index in this list
        "others": [
            {"path": path, "chance": None if near.chance is None else round(near.chance, DIGITS)}
            for path, near in feature.nearest.items()
        ],
    }


def _chunk(feature: Feature, part: slice) -> list[dict[str, Any]]:
    """Build the rest of each latent's page, beyond the overview."""
    examples = feature.examples
    tops, spreads = _events(examples.top, part), _events(examples.spread, part)
    ranks = examples.spread_ranks[part].double().numpy().round(3).tolist()
    counts, widths = examples.counts[part].numpy(), significant_digits(examples.widths[part].numpy(), 6).tolist()
    nearest = [
        (near.latents[part].tolist(), near.cosines[part].double().numpy().round(DIGITS).tolist())
        for near in feature.nearest.values()
    ]
    others = {path: place for place, path in enumerate(feature.nearest)}
    ends = _ends(feature.promoted, part)
    chunk = []
    for i, latent in enumerate(range(part.start, part.stop)):
        filled = counts[i].nonzero()[0]
        chunk.append(
            {
                "top": tops[i],  # [token's number in the text, [offset from it, activation, offset, …]]
                "spread": [[*event, rank] for event, rank in zip(spreads[i], ranks[i], strict=False)],
                "width": widths[i],  # of a bin; the first bin starts at 0
                "counts": counts[i, : filled[-1] + 1].tolist() if len(filled) else [],
                "nearest": [list(zip(latents[i], cosines[i], strict=True)) for latents, cosines in nearest],
                "parents": _relatives(feature.parents.get(latent, ()), others),
                "children": _relatives(feature.children.get(latent, ()), others),
                **{name: values[i] for name, values in ends.items()},
            }
        )
    return chunk


def _events(events: Events, part: slice) -> list[list[list[Any]]]:
    tokens, windows = events.tokens[part].tolist(), significant_digits(events.windows[part].numpy())
    latent, slot, place = windows.nonzero()
    values = windows[latent, slot, place].tolist()
    found = [[[token, []] for token in row if token >= 0] for row in tokens]
    for i, j, offset, value in zip(latent.tolist(), slot.tolist(), (place - BEFORE).tolist(), values, strict=True):
        found[i][j][1] += (offset, value)
    return found


def _ends(promoted: Promoted | None, part: slice) -> dict[str, list[list[Any]]]:
    """Pair tokens and effects: [token, logits per unit of the latent]."""
    if promoted is None:
        return {}
    sides = {
        "promoted": (promoted.tokens, promoted.effects),
        "suppressed": (promoted.suppressed_tokens, promoted.suppressed_effects),
    }
    return {
        name: [
            list(zip(row, values, strict=True))
            for row, values in zip(
                tokens[part].tolist(), significant_digits(effects[part].numpy()).tolist(), strict=True
            )
        ]
        for name, (tokens, effects) in sides.items()
    }


def _relatives(found: Sequence[Relative], others: Mapping[str, int]) -> list[list[Any]]:
    return [[others[r.path], r.latent, r.cosine, r.masked] for r in found if r.path in others]


def _write(folder: Path, name: str, value: Any) -> None:
    # ASCII: no Unicode line separators in a script
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # weights so large that a product of theirs is no float32
        text = json.dumps(to_json(value), separators=(",", ":"), allow_nan=False)
    (folder / f"{name}.js").write_text(f"winnowData({text});\n", encoding="ascii")
