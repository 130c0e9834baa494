"""The model card of a pushed run: what the dictionaries are, their metrics, how to load them.

    card(folders, metrics, "owner/name")      # the text of README.md; the same inputs give the same text

The template is card.md.jinja. The numbers come from `report/metrics.json`, with the titles and formats given there
(`shown`, docs/guide/analyze.md). If a dictionary is not in it, the card says so.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from train.hub.private import text_without_paths, without_paths
from winnow.dictionary import TRAINING, read_training
from winnow.formats.contents import read_json
from winnow.massive.description import Massive

TEMPLATE = Path(__file__).with_name("card.md.jinja")
SETTINGS = {
    "rows": "activation rows",
    "batch_rows": "rows per step",
    "learning_rate": "peak learning rate",
    "k": "k",
    "l1_coefficient": "L1 coefficient",
    "l0_coefficient": "L0 coefficient",
    "noise": "noise",
    "initialisation": "initialisation",
    "seed": "seed",
}


class Table(NamedTuple):
    """A table of the card: the titles of its numbers, and each row's key -> its cells."""

    titles: list[str]
    rows: dict[Any, list[str]]


def card(
    folders: Sequence[Path], metrics: Mapping[str, Any] | None, repository: str, paths: Collection[str] = ()
) -> str:
    """Compose the card of the dictionaries in `folders`, each HOOK/NAME below `dictionaries/`.

    metrics: the content of the run's `report/metrics.json`; None if the run is not analysed yet. paths: of this
    machine, which the card does not name.
    """
    training = {path_of(folder): without_paths(read_training(folder), paths) for folder in folders}
    made_from = next(iter(training.values())).get("activations", {})
    keys = ("model", "text", "text_commit", "context", "rows")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template(TEMPLATE.name).render(
        metadata=_metadata(made_from, training.values()),
        repository=repository,
        opening=_opening(made_from, len(folders)),
        massive=[*_massive(training, metrics)],
        first=path_of(folders[0]),
        width=read_json(folders[0] / "cfg.json")["d_in"],
        measured=_measured(training, metrics) if metrics else None,
        evaluated=metrics["evaluation"]["rows"] if metrics else None,
        shared=_shared(training, metrics) if metrics else None,
        training=_training(training),
        record=TRAINING,
        made_from={key: made_from.get(key) for key in keys},
        model={"commit": None, **made_from["model"]} if made_from.get("model") else None,
        at=_at,
        row=_row,
        rule=lambda columns: "| --- " * columns + "|",
    )
    return text_without_paths(text, paths)


def path_of(folder: Path) -> str:
    """Return a dictionary's path in the repository: HOOK/NAME."""
    return f"{folder.parent.name}/{folder.name}"


def _metadata(made_from: Mapping[str, Any], training: Iterable[Mapping[str, Any]]) -> str:
    model, text = made_from.get("model") or {}, str(made_from.get("text") or "")
    architectures = sorted({entry["settings"]["architecture"] for entry in training if entry.get("settings")})
    data = ModelCardData(
        library_name="winnow",
        tags=["sparse-autoencoder", "mechanistic-interpretability", "sae_lens", *architectures],
        base_model=model["name"] if model.get("commit") else None,  # a name on the hub, no folder
        datasets=[text.removeprefix("hub:")] if made_from.get("text_commit") else None,
    )
    return data.to_yaml()


def _opening(made_from: Mapping[str, Any], count: int) -> str:
    model = made_from.get("model")
    of = f"activations of {_at(model['name'], model.get('commit'))}" if model else "toy data with a known answer"
    several = f"{count} sparse autoencoders (dictionaries)" if count > 1 else "A sparse autoencoder (dictionary)"
    return f"{several} of {of}, trained by winnow."


def _massive(training: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any] | None) -> Iterator[str]:
    """Say of each hook which massive rows were left out, or taken in."""
    hooks = {path.partition("/")[0]: entry for path, entry in training.items()}
    taken_in = {
        hook["hook"]: hook["massive"]
        for hook in (metrics or {}).get("activations") or []
        if hook.get("massive") and not hook["massive"]["left_out"]
    }
    for hook, entry in hooks.items():
        if entry.get("left_out"):
            yield f"`{hook}`: {Massive.from_json(entry['left_out']).words()} They were left out of the training."
        elif hook in taken_in:
            yield f"`{hook}`: {Massive.from_json(taken_in[hook]).words()} They were trained on like any other."


def _measured(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> Table | None:
    shown = metrics["shown"]["dictionaries"]
    known = {entry["path"].removeprefix("dictionaries/"): entry for entry in metrics["dictionaries"]}
    missing = ["not measured yet", *[""] * (len(shown) - 1)]
    rows = {path: _numbers(shown, known[path]) if path in known else missing for path in training}
    return Table([one["title"] for one in shown], rows) if known.keys() & rows.keys() else None


def _shared(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> Table | None:
    shown, rows = metrics["shown"]["pairs"], {}
    for pair in metrics["pairs"]:
        ends = tuple(pair[end].removeprefix("dictionaries/") for end in ("from", "to"))
        if training.keys() >= set(ends):
            rows[ends] = _numbers(shown, pair)
    return Table([one["title"] for one in shown], rows) if rows else None


def _training(training: Mapping[str, Mapping[str, Any]]) -> Table:
    own = {path: entry.get("settings", {}) for path, entry in training.items()}
    used = [key for key in SETTINGS if any(key in settings for settings in own.values())]
    rows = {}
    for path, settings in own.items():
        record = training[path].get("convergence", {})
        converged = record.get("converged")
        verdict = (
            "stalled" if record.get("stalled") else "not known" if converged is None else "yes" if converged else "no"
        )
        rows[path] = [_value(training[path].get("rows") if key == "rows" else settings.get(key)) for key in used]
        rows[path].append(verdict)
    return Table([SETTINGS[key] for key in used], rows)


def _numbers(shown: Sequence[Mapping[str, str]], record: Mapping[str, Any]) -> list[str]:
    """Format the metrics of a record as `metrics.json` says."""
    return [_number(_inside(record, one["key"]), one["format"]) for one in shown]


def _inside(record: Mapping[str, Any], key: str) -> Any:
    """Look up a key such as "ce.recovered"; None if a part of it was not measured."""
    value: Any = record
    for part in key.split("."):
        value = None if value is None else value[part]
    return value


def _number(value: float | int | None, form: str) -> str:
    if value is None:
        return "–"
    text = format(value, form)
    return f"{value:,.0f}" if "e+" in text else text


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _at(name: str, commit: Any) -> str:
    return f"`{name}` at commit `{commit}`" if commit else f"`{name}`"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
