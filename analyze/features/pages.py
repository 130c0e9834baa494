"""Write feature pages: a browser for the latents of chosen dictionaries, made of files that open from disk.

    report/features/index.html           the page; index.html#HOOK/NAME/123 is latent 123
    report/features/data/HASH/*.js       the page's data, see data.py

A folder's name is the hash of all inputs of its content, so an existing folder is up to date. Folders that the page
no longer names are removed after the page is written.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analyze.features.choice import FOLDER, choose, other_sizes
from analyze.inputs import Inputs
from analyze.ladders import ladder_of
from winnow.config.experiment import Experiment
from winnow.runtime.publish import publish_text
from winnow.runtime.run import Run
from winnow.tokens import TokenFile

FEATURES = 3  # raise it when the content of the data files changes
TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("tokens.js", "data.js", "list.js", "latent.js", "features.js")

Entry = Mapping[str, Any]


def write_features(config: Experiment, tokens: TokenFile, inputs: Inputs, metrics: Mapping[str, Any]) -> bool:
    """Write the missing pages of the chosen dictionaries, and return whether anything changed.

    `metrics` is the content of `metrics.json`. The page is written last.
    """
    run = Run(Path(config.run))
    folder = run.report / "features"
    chosen = choose(config.analyze.features, metrics, config.harvest.hooks)
    if not chosen:
        there = folder.exists()
        shutil.rmtree(folder, ignore_errors=True)
        return there
    text = _digest(FEATURES, "text", inputs.evaluation)
    names = {entry["path"]: _digest_of(entry, inputs, metrics) for entry in chosen}
    data = folder / "data"
    if not all((data / name).is_dir() for name in [text, *names.values()]):
        # imported here, so that a stage with nothing to do does not load torch and transformers
        from analyze.features.make import make_data

        data.mkdir(parents=True, exist_ok=True)
        missing = [entry for entry in chosen if not (data / names[entry["path"]]).is_dir()]
        make_data(config, tokens, metrics, data, text, {entry["path"]: names[entry["path"]] for entry in missing})
    measured = metrics["run"]  # as it was named then: a run that has moved keeps its page
    name = measured["path"] if measured else config.run
    page, content = folder / "index.html", render_page(name, text, chosen, names)
    changed = not page.exists() or page.read_text(encoding="utf-8") != content
    if changed:
        publish_text(page, content)
        latents = sum(entry["n_latents"] for entry in chosen)
        print(f"{page}: {latents:,} latents of {len(chosen)} dictionaries")
    for old in data.iterdir():
        if old.name not in (text, *names.values()):
            shutil.rmtree(old)
    return changed


def render_page(run: str, text: str, chosen: Sequence[Entry], names: Mapping[str, str]) -> str:
    """Render the page, which names the data of each dictionary; `text` and `names` are folders below `data`."""
    catalogue = {
        "run": run,
        "text": text,
        "dictionaries": [
            {
                "path": entry["path"],
                "id": entry["path"].removeprefix(FOLDER),
                "hook": entry["hook"],
                "settings": ladder_of(entry).settings,
                "n_latents": entry["n_latents"],
                "l0": entry["l0"],
                "fvu": entry["fvu"],
                "data": names[entry["path"]],
            }
            for entry in chosen
        ],
    }
    parts = {
        "STYLE": (TEMPLATES / "features.css").read_text(encoding="utf-8"),
        "SCRIPT": "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS),
        # only "<" can end a script element
        "CATALOGUE": json.dumps(catalogue, separators=(",", ":")).replace("<", "\\u003c"),
    }
    page = (TEMPLATES / "features.html").read_text(encoding="utf-8")
    for name, part in parts.items():
        before, after = page.split(f"@{name}@")
        page = before + part + after
    return page


def _digest_of(entry: Entry, inputs: Inputs, metrics: Mapping[str, Any]) -> str:
    """Hash the inputs of one dictionary's pages: itself, its neighbours, and the evaluation."""
    paths = [entry["path"], *(other["path"] for other in other_sizes(entry, metrics))]
    return _digest(FEATURES, inputs.evaluation, [[path, inputs.dictionaries[path]] for path in paths])


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
