"""What README, CONTRIBUTING and the docs name is there: paths, commands, make targets, settings, links."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from analyze.stage import measure_run
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, load, write_config
from train.stage import train
from winnow.config.experiment import Experiment

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOREIGN_COMMANDS = {"venv", "pip"}
ELSEWHERE = {
    *("ae.pt", "config.json", "sae.safetensors", "activation_scaler.json"),  # of other programs
    *("stage.sh", "shared.sh"),  # scripts that a page shows whole
}
PLACEHOLDER = re.compile(r"(^|/)(NAME|HOOK|DICTIONARY|OWNER|FOLDER|FILE)[/.]")
OTHER_KEYS = {"model.commit"}  # of a manifest, named like a setting

on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code(page: Path) -> list[str]:
    """Every span in backticks, and every line of a block of code."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    \S.*$", rest, flags=re.MULTILINE)
    return [*spans(page), *(line for block in blocks for line in block.splitlines()), *indented]


def spans(page: Path) -> list[str]:
    text = re.sub(r"^```\w*\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", text)


def is_command(module: str) -> bool:
    """Whether `python -m module` runs something."""
    path = ROOT / Path(*module.split("."))
    if path.is_dir():
        return (path / "__main__.py").exists()
    return path.with_suffix(".py").exists() and '__name__ == "__main__"' in path.with_suffix(".py").read_text()


@on_each_page
def test_every_command_exists(page: Path) -> None:
    found = {
        name
        for line in code(page)
        for names in re.findall(r"(?<!pytest) -m ([\w.|]+)", line)
        for name in names.split("|")
    }
    assert [name for name in sorted(found - FOREIGN_COMMANDS) if not is_command(name)] == []


@on_each_page
def test_every_make_target_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))
    named = {name for line in code(page) for name in re.findall(r"\bmake ([a-z][a-z0-9-]*)", line)}
    assert named - targets == set()


def test_the_readme_names_the_usual_targets() -> None:
    assert {"demo", "test", "all", "harvest", "verify"} <= set(
        re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)
    )


def settings(model: type[BaseModel] = Experiment, prefix: str = "") -> set[str]:
    """Every key of an experiment, with dots."""
    keys = set()
    for name, field in model.model_fields.items():
        keys.add(prefix + name)
        for part in _models(field.annotation):
            keys |= settings(part, f"{prefix}{name}.")
    return keys


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def test_settings_are_found_in_every_table() -> None:
    assert {"run", "text.tokens", "toy.rows", "harvest.positions.skip_first", "train.dictionaries.k"} <= settings()


@on_each_page
def test_every_setting_exists(page: Path) -> None:
    known = settings()
    sections = {key.split(".")[0] for key in known if "." in key}
    named = {key for line in code(page) for key in re.findall(r"--([a-z]+\.[\w.]+)", line)}
    for span in spans(page):
        key = re.fullmatch(r"([a-z]+(?:\.\w+)+)(?: = .*)?", span)
        if key and key[1].split(".")[0] in sections and not key[1].endswith((".py", ".md")) and not is_module(key[1]):
            named.add(key[1])
    assert named - known - OTHER_KEYS == set()


def is_module(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    try:
        return find_spec(name) is not None or find_spec(name.rpartition(".")[0]) is not None
    except ModuleNotFoundError:
        return False


def files_of_a_run() -> list[str]:
    """The paths in docs/reference/on-disk.md, below the run's folder; words in capitals stand for any name."""
    page = (ROOT / "docs" / "reference" / "on-disk.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)


def matches(named: str, path: str) -> bool:
    """Whether a path is one of those that a name with words in capitals stands for; FILE alone may be in folders."""
    folder, _, name = named.rpartition("/")
    pattern = re.sub("[A-Z]+", "[^/]+", re.escape(folder + "/" * bool(folder)))
    pattern += ".+" if name == "FILE" else re.sub("[A-Z]+", "[^/]+", re.escape(name))
    return re.fullmatch(pattern, path) is not None


def ends_of_paths() -> set[str]:
    """Every file and folder of a run, also without the folders before it, as pages name them."""
    paths = files_of_a_run()
    paths += [folder for path in paths for folder in map(str, Path(path).parents) if folder != "."]
    ends = {"/".join(path.split("/")[i:]) for path in paths for i in range(path.count("/") + 1)}
    return {end for end in ends if end in paths or not re.fullmatch("[A-Z/]+", end)}


@on_each_page
def test_every_path_exists(page: Path) -> None:
    in_a_run = ends_of_paths()
    configurations = re.findall(r"\bconfigs/[\w-]{2,}\.toml", page.read_text(encoding="utf-8"))
    missing = []
    for path in [*spans(page), *configurations]:
        if not re.fullmatch(r"[\w./<>*-]*\w(/|\.(py|toml|md|ipynb|txt|jsonl?|h5|safetensors|html|csv|pt|sh))", path):
            continue
        below = path.removeprefix("runs/NAME/").removeprefix("runs/demo/").replace("*", "x").rstrip("/")
        is_there = (ROOT / path).exists() or any(matches(end, below) for end in in_a_run)
        if not (is_there or path in ELSEWHERE or PLACEHOLDER.search(path)):
            missing.append(path)
    assert missing == []


@on_each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_dictionary_that_the_readme_opens_is_in_the_demo() -> None:
    demo = (ROOT / "configs" / "demo.toml").read_text()
    name = r"dictionaries/([\w.]+)/topk-(\d+)-k(\d+)-lr([\d.]+)-seed0"
    hook, size, k, rate = re.search(name, README).groups()  # type: ignore[union-attr]
    assert f'"{hook}"' in demo
    assert size in demo
    assert f"k = {k}\n" in demo
    assert float(rate) in {float(found) for found in re.findall(r"learning_rate = (\S+)", demo)}


@pytest.mark.slow
def test_every_file_of_a_run_is_on_the_page(tmp_path: Path, gpt2: Path) -> None:
    """A run of all four stages, with snapshots and feature pages, leaves nothing that the page does not name."""
    topk = {"architecture": "topk", "n_latents": [16, 32], "k": 4, "hooks": ["blocks.1.hook_resid_post"]}
    training = {"rows": 2000, "batch_rows": 100, "snapshots": 1, "dictionaries": [topk]}
    config = load(write_config(tmp_path, gpt2, train=training))
    for stage in (make_tokens, harvest, train, measure_run):
        stage(config)
    run = tmp_path / "run"
    found = [str(path.relative_to(run)) for path in sorted(run.rglob("*")) if path.is_file()]
    named = files_of_a_run()
    assert [path for path in found if not any(matches(name, path) for name in named)] == []
    matched = {name for name in named if any(matches(name, path) for path in found)}
    hidden = [name for name in found if (run / name).stat().st_mode & 0o444 != 0o444 & ~_umask()]
    assert hidden == []  # whoever can read the folder can read the files, whatever wrote them
    expected = ("config.toml", ".lock", "tokens.h5", "activations/shard-N.h5", "report/features/index.html")
    assert set(expected) - matched == set()


def _umask() -> int:
    before = os.umask(0o022)
    os.umask(before)
    return before
