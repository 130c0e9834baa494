"""The model card of a pushed run: what the dictionaries are, what was measured of them, how to load them.

    card(folders, metrics, "owner/name")      # the text of README.md; the same inputs give the same text

Numbers are those of `report/metrics.json` (docs/guide/analyze.md). Where a dictionary is not among them, the card
says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from winnow.dictionary import TRAINING
from winnow.formats.contents import read_json

SETTINGS = {
    "rows": "activation rows",
    "batch_rows": "rows per step",
    "learning_rate": "peak learning rate",
    "k": "k",
    "l1_coefficient": "L1 coefficient",
    "l0_coefficient": "L0 coefficient",
    "initialisation": "initialisation",
    "seed": "seed",
}


def card(folders: Sequence[Path], metrics: Mapping[str, Any] | None, repository: str) -> str:
    """Compose the card of the dictionaries in `folders`, each HOOK/NAME below `dictionaries/`.

    metrics: the content of the run's `report/metrics.json`, None where it is not analysed yet.
    """
    training = {path_of(folder): read_json(folder / TRAINING) for folder in folders}
    measured = {entry["path"].removeprefix("dictionaries/"): entry for entry in (metrics or {}).get("dictionaries", [])}
    made_from = next(iter(training.values())).get("activations", {})
    parts = [
        f"---\n{_metadata(made_from, training.values())}\n---",
        f"# {repository}",
        _opening(made_from, len(folders)),
        _loading(repository, folders[0]),
        "## Measured",
        _measured(training, measured, (metrics or {}).get("evaluation", {})),
        *_shared(training, (metrics or {}).get("pairs", [])),
        "## Training",
        _training(training),
        *_source(made_from),
    ]
    return "\n\n".join(parts) + "\n"


def path_of(folder: Path) -> str:
    """Name a dictionary within the repository: HOOK/NAME."""
    return f"{folder.parent.name}/{folder.name}"


def _metadata(made_from: Mapping[str, Any], training: Any) -> str:
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


def _loading(repository: str, folder: Path) -> str:
    path = path_of(folder)
    return f"""```python
import winnow

d = winnow.load_dictionary("hf:{repository}/{path}")
latents = d.encode(x)  # x: activations [..., {read_json(folder / "cfg.json")["d_in"]}], in the model's own units
reconstruction = d.decode(latents)
```

The files are in SAELens' layout:

```python
from sae_lens import SAE

sae = SAE.from_pretrained("{repository}", "{path}")
```"""


def _measured(
    training: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]], evaluation: Mapping[str, Any]
) -> str:
    known = [path for path in training if path in measured]
    if not known:
        return "Nothing has been measured yet: metrics are missing until the run is analysed, and pushed again."
    lines = ["| dictionary | latents | L0 | FVU | loss recovered | alive |", "| --- | --- | --- | --- | --- | --- |"]
    for path in training:
        if path in measured:
            entry = measured[path]
            recovered = (entry.get("ce") or {}).get("recovered")
            numbers = [
                f"{entry['n_latents']:,}",
                _number(entry["l0"], ".1f"),
                _number(entry["fvu"], ".3f"),
                _number(recovered, ".1%"),
                _number(entry["alive_fraction"], ".1%"),
            ]
            lines.append(f"| `{path}` | {' | '.join(numbers)} |")
        else:
            lines.append(f"| `{path}` | not measured yet | | | | |")
    rows = evaluation.get("rows")
    on = f"On {rows:,} held-out rows" if rows else "On held-out rows"
    return (
        "\n".join(lines)
        + f"\n\n{on} that none was trained on. FVU is the fraction of variance unexplained, L0 the mean "
        "number of latents above zero; loss recovered is 1 where the model predicts as well from the reconstruction as "
        "from its own activations, 0 where as badly as from zeros; alive are latents that fired on more than ten rows."
    )


def _shared(training: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for pair in pairs:
        a, b = (pair[end].removeprefix("dictionaries/") for end in ("from", "to"))
        if a in training and b in training:
            numbers = (_number(pair[key], ".2f") for key in ("mmcs", "mmcs_null", "mmcs_corrected"))
            lines.append(f"| `{a}` | `{b}` | {' | '.join(numbers)} |")
    if not lines:
        return []
    head = "| features of | found in | MMCS | by chance | corrected |\n| --- | --- | --- | --- | --- |\n"
    return [
        "### Shared between sizes",
        head
        + "\n".join(lines)
        + "\n\nMMCS is the mean over the living features of the one of the largest cosine with a "
        "feature of the other; by chance, that of as many random directions; corrected = (MMCS − chance)/(1 − chance). "
        "Dictionaries that have not converged, as the next table says, are not to be compared yet.",
    ]


def _training(training: Mapping[str, Mapping[str, Any]]) -> str:
    own = {
        path: {k: v for k, v in entry.get("settings", {}).items() if k in SETTINGS} for path, entry in training.items()
    }
    used = [key for key in SETTINGS if any(key in settings for settings in own.values())]
    lines = [
        f"| dictionary | {' | '.join(SETTINGS[key] for key in used)} | converged |",
        "| --- " * (len(used) + 2) + "|",
    ]
    for path, settings in own.items():
        converged = training[path].get("convergence", {}).get("converged")
        verdict = "not known" if converged is None else "yes" if converged else "no"
        values = [_value(training[path].get("rows") if key == "rows" else settings.get(key)) for key in used]
        lines.append(f"| `{path}` | {' | '.join(values)} | {verdict} |")
    return "\n".join(lines) + f"\n\nEvery setting, with the versions that were used, is in each `{TRAINING}`."


def _source(made_from: Mapping[str, Any]) -> list[str]:
    model = made_from.get("model")
    if not model:
        return []
    lines = [f"- model: {_at(model['name'], model.get('commit'))}, computed in {model['dtype']}"]
    if made_from.get("text"):
        lines.append(f"- text: {_at(str(made_from['text']).removeprefix('hub:'), made_from.get('text_commit'))}")
    if made_from.get("context"):
        lines.append(f"- {made_from['context']} tokens per sequence, {made_from.get('rows', 0):,} rows harvested")
    return ["## Activations", "\n".join(lines)]


def _at(name: str, commit: Any) -> str:
    return f"`{name}` at commit `{commit}`" if commit else f"`{name}`"


def _number(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)


def _value(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
