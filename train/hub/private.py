"""Leave out of what is pushed where things lie on this machine: of a path its last part stays.

Records of a training name the model and the text as the configuration spelt them. Names on the hub are kept.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from winnow.config.experiment import FILES, Experiment
from winnow.fields import parse_json

PATH = re.compile(r"file:|/[^/\s]|~[\w.-]*[/\\]|\\\\|[A-Za-z]:[/\\]|\.\.?[/\\]")  # how one begins that is no name
ON_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


def paths_of(config: Experiment, trainings: Iterable[Mapping[str, Any]]) -> set[str]:
    """List the paths of this machine that the records of a run may name: of the run, its models and its text."""
    found = {config.run, _without_prefix(config.text.source)}
    if Path(config.model.name).exists():
        found.add(config.model.name)
    for training in trainings:
        found |= set(_local_names(training.get("activations") or {}))
    found |= {str(Path(path).resolve()) for path in found}
    above = {str(Path(path).parent) for path in found}  # the folder of a text, whose files a pattern names
    return {path for path in found | above if len(Path(path).parts) > 1}


def without_paths(value: Any, paths: Collection[str]) -> Any:
    """Shorten every path in JSON to its last part: those given, and whatever else begins as a path does."""
    if isinstance(value, Mapping):
        return {name: without_paths(inner, paths) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner, paths) for inner in value]
    return _shortened(value, paths) if isinstance(value, str) else value


def text_without_paths(text: str, paths: Collection[str]) -> str:
    """Shorten the absolute paths among those given wherever they stand in a text."""
    for path in sorted(paths, key=len, reverse=True):
        if path.startswith("/"):
            text = re.sub(rf"{re.escape(path.rstrip('/'))}(?![\w.-])", lambda _, path=path: _last_part(path), text)
    return text


def file_without_paths(path: Path, paths: Collection[str]) -> Path | bytes:
    """Give what is to be uploaded of a file: the file itself, or the content of JSON without its paths."""
    if path.suffix not in (".json", ".jsonl"):
        return path
    lines = [path.read_text(encoding="utf-8")]
    if path.suffix == ".jsonl":
        lines = [line for line in lines[0].splitlines() if line.strip()]
    read = [parse_json(line, path, "restore it, and push again") for line in lines]
    shortened = without_paths(read, paths)
    if shortened == read:
        return path
    indent = 1 if path.suffix == ".json" else None
    return "".join(json.dumps(one, indent=indent) + "\n" for one in shortened).encode()


def _local_names(made_from: Mapping[str, Any]) -> Iterator[str]:
    """List the names of model and text in the manifest of a store that are none on the hub."""
    model = made_from.get("model") or {}
    for name in (model.get("name"), made_from.get("tokenizer"), (made_from.get("settings") or {}).get("model.name")):
        if isinstance(name, str) and not _is_on_hub(name, model):
            yield name
    if str(made_from.get("text")).startswith(FILES):
        yield _without_prefix(str(made_from["text"]))


def _is_on_hub(name: str, model: Mapping[str, Any]) -> bool:
    if "commit" in model:  # of older stores it is not known
        return bool(model["commit"]) and ON_HUB.fullmatch(name) is not None
    return ON_HUB.fullmatch(name) is not None and not Path(name).exists()


def _shortened(value: str, paths: Collection[str]) -> str:
    prefix, path = (FILES, _without_prefix(value)) if value.startswith(FILES) else ("", value)
    if prefix or path in paths or (PATH.match(path) and "\n" not in path):
        return prefix + _last_part(path)
    return text_without_paths(value, paths)


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _without_prefix(source: str) -> str:
    return source.removeprefix(FILES)
