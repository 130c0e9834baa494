"""A dictionary that was put into a run is checked against the rows there; a folder that is no run says what it is."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.stores import write_store
from tests.winnow.test_dictionary import D, N, dictionary
from winnow.dictionary import Dictionary, load_dictionaries, load_dictionary, save_dictionary
from winnow.errors import UserError

HOOK, OTHER = "blocks.0.hook_resid_post", "blocks.0.hook_mlp_out"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("made") / "run"
    write_store(run / "activations", {HOOK: torch.ones(8, D), OTHER: torch.ones(8, D - 1)}, context=4)
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def put(run: Path, hook: str, d: Dictionary) -> Path:
    folder = run / "dictionaries" / hook / "mine"
    save_dictionary(d, folder, {}, {})
    return folder


def wide(width: int, hook: str = HOOK) -> Dictionary:
    return Dictionary(torch.ones(width, N), torch.zeros(N), torch.ones(N, width), torch.zeros(width), hook=hook)


def test_a_dictionary_of_the_runs_rows_opens(run: Path) -> None:
    put(run, HOOK, dictionary())
    put(run, OTHER, wide(D - 1, OTHER))
    assert sorted(d.d_model for d in load_dictionaries(run)) == [D - 1, D]


def test_another_width_is_named_also_of_a_snapshot(run: Path) -> None:
    folder = put(run, HOOK, wide(768))
    said = f"expected d_model = {D}, the width of {HOOK} in this run, found 768; move it out of {run}"
    for load in (lambda: load_dictionaries(run), lambda: load_dictionary(folder)):
        with pytest.raises(UserError, match=rf"^{folder}: {said}$"):
            load()
    shutil.copytree(folder, below := folder / "snapshots" / "rows-5")
    with pytest.raises(UserError, match=rf"^{below}: {said}$"):
        load_dictionary(below)


def test_another_hook_is_named(run: Path) -> None:
    folder = put(run, HOOK, wide(D, "blocks.8.hook_resid_pre"))
    with pytest.raises(UserError, match=rf"of {HOOK}, as its folder says, found one of blocks\.8"):
        load_dictionary(folder)
    config = json.loads((folder / "cfg.json").read_text())
    del config["metadata"]["hook_name"]
    (folder / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="found one of no hook; move it out of"):
        load_dictionary(folder)


def test_without_activations_or_outside_of_a_run_anything_opens(run: Path, tmp_path: Path) -> None:
    folder = put(run, HOOK, wide(768))
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_dictionary(tmp_path / "elsewhere").d_model == 768
    shutil.copytree(folder, run / "dictionaries" / "blocks.8" / "mine")  # a hook that was not harvested
    assert load_dictionary(run / "dictionaries" / "blocks.8" / "mine").d_model == 768
    (run / "activations" / "manifest.json").write_text("damaged")  # which its own readers say
    assert load_dictionary(folder).d_model == 768
    shutil.rmtree(run / "activations")
    assert load_dictionary(folder).d_model == 768


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("empty", "found none of dictionaries, activations, config.toml, tokens.h5, truth"),
        ("file", "found a file"),
        ("dictionary", "found one dictionary; winnow.load_dictionary opens it"),
        ("run/dictionaries", "found a part of one; give {run}"),
        (f"run/dictionaries/{HOOK}", "found a part of one; give {run}"),
        ("above", "found runs in it: a, b"),
    ],
)
def test_a_folder_that_is_no_run_says_what_it_is(what: str, found: str, run: Path, tmp_path: Path) -> None:
    put(run, HOOK, dictionary())
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    save_dictionary(dictionary(), tmp_path / "dictionary", {}, {})
    for name in "ab":
        (tmp_path / "above" / name / "dictionaries").mkdir(parents=True)
    said = f"{what}: expected the folder of a run, for instance runs/demo, {found.format(run=run)}"
    with pytest.raises(UserError, match=re.escape(said)):
        load_dictionaries(tmp_path / what)


def test_a_run_without_dictionaries_has_none(run: Path) -> None:
    assert load_dictionaries(run) == []
