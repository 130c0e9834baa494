"""A model is its weights and its configuration: it may move, and another one in its place is refused by every stage."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import winnow.model.language_model
from harvest.stage import harvest
from tests.experiments import ROOT, load
from tests.finished import STAGES, contents
from train.stage import train
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.model.files import config_hash, files_hash
from winnow.runtime.remembered import REMEMBERED
from winnow.runtime.run import finished_dictionaries
from winnow.shards.fingerprint import FINGERPRINTED, _hash
from winnow.shards.manifest import MANIFEST, read_manifest

LOOK_AT_THE_MODEL = ("harvest", "polytopes", "analyze")


@pytest.fixture
def moved(finished: Path, tmp_path: Path) -> Path:
    """A folder with copies of the finished run, its model and its text."""
    for name in ("run", "model", "text"):
        shutil.copytree(finished.parent / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a model fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr(winnow.model.language_model, "_load", refuse)


def settings(finished: Path, folder: Path, model: str | Path | None = None) -> Experiment:
    names = {
        "run": folder / "run",
        "model.name": model or folder / "model",
        "text.source": f"files:{folder}/text/*.txt",
    }
    return load(finished, *(word for name, value in names.items() for word in (f"--{name}", str(value))))


def change_weights(model: Path) -> None:
    """Change a weight, and leave the size and the time of the file as they were."""
    path = model / "model.safetensors"
    before = path.stat()
    tensors = load_file(path)
    tensors["transformer.ln_f.bias"][3] += 1
    save_file(tensors, path, {"format": "pt"})
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("unopened")
@pytest.mark.parametrize("spelling", ["{0}", "{0}/", "{1}", "./{1}/"])
def test_a_run_goes_on_where_it_has_moved_however_it_is_spelt(
    finished: Path, moved: Path, spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(moved / "run")
    model = spelling.format(moved / "model", os.path.relpath(moved / "model"))
    for stage in STAGES.values():
        stage(settings(finished, moved, model))
    captured = capsys.readouterr()
    assert captured.out.count("nothing to do") == len(STAGES)
    assert captured.err == ""
    assert contents(moved / "run") == before


@pytest.mark.usefixtures("unopened")
def test_a_model_that_is_gone_is_not_missed_where_nothing_is_to_do(
    finished: Path, moved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(moved)
    gone = read_manifest(moved / "run" / "activations").settings["model.name"]
    shutil.rmtree(moved / "text")
    hidden = Path(gone).rename(moved / "hidden")
    try:
        for stage in STAGES.values():
            stage(settings(finished, moved, f"{gone}/"))
    finally:
        hidden.rename(gone)
    assert capsys.readouterr().out.count("nothing to do") == len(STAGES)


@pytest.mark.parametrize("same_place", [True, False])
@pytest.mark.parametrize("name", LOOK_AT_THE_MODEL)
def test_other_weights_are_refused_in_the_same_place_and_elsewhere(
    finished: Path, moved: Path, name: str, same_place: bool
) -> None:
    model = finished.parent / "model" if same_place else moved / "model"
    assert same_place == (str(model) == read_manifest(moved / "run" / "activations").settings["model.name"])
    whole = shutil.copytree(model, moved / "whole")
    try:
        change_weights(model)
        said = r"activations was made with weights_sha256 of the model = '\w{64}', now weights_sha256 of the model = "
        with pytest.raises(UserError, match=said):
            STAGES[name](settings(finished, moved, model))
    finally:
        shutil.copytree(whole, model, dirs_exist_ok=True)
    STAGES[name](settings(finished, moved, model))


@pytest.mark.parametrize("name", LOOK_AT_THE_MODEL)
def test_another_configuration_of_the_same_weights_is_refused(finished: Path, moved: Path, name: str) -> None:
    path = moved / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "activation_function": "relu"}))
    with pytest.raises(UserError, match=r"activations was made with config_sha256 of the model = "):
        STAGES[name](settings(finished, moved))


def test_a_name_on_the_hub_counts_as_it_is_spelt(finished: Path, moved: Path) -> None:
    with pytest.raises(UserError, match=r"now model\.name = 'nobody/nothing' is asked for"):
        harvest(settings(finished, moved, "nobody/nothing"))


def test_the_same_weights_in_other_files_are_compared_once(
    finished: Path, moved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = AutoModelForCausalLM.from_pretrained(moved / "model", dtype=torch.float32)
    (moved / "model" / "model.safetensors").unlink()
    model.save_pretrained(moved / "model", max_shard_size="100KB")
    assert len(list((moved / "model").glob("*.safetensors"))) > 1
    harvest(settings(finished, moved))
    assert (moved / "run" / REMEMBERED).exists()
    monkeypatch.delattr(winnow.model.language_model, "_load")
    for name in LOOK_AT_THE_MODEL:
        STAGES[name](settings(finished, moved))
    assert capsys.readouterr().out.count("nothing to do") == 4
    (moved / "run" / REMEMBERED).write_text("{")  # nothing depends on it
    with pytest.raises(NameError, match="_load"):
        harvest(settings(finished, moved))


def test_an_interrupted_harvest_ends_with_the_same_bytes_where_it_has_moved(finished: Path, moved: Path) -> None:
    folder = moved / "run" / "activations"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in ("shard-00002.h5", "shard-00002.json", "statistics.h5"):
        (folder / name).unlink()
    harvest(settings(finished, moved))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_dictionaries_stay_those_of_activations_that_are_harvested_again_under_another_name(
    finished: Path, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(moved / "run" / "activations")
    other = settings(finished, moved)
    harvest(other)
    capsys.readouterr()
    train(other)
    assert "2 dictionaries are there; nothing to do" in capsys.readouterr().out


def test_dictionaries_of_an_older_version_go_on_as_those_of_the_same_store(
    finished: Path, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(moved / "run" / "activations").written
    older = _hash(manifest, FINGERPRINTED)
    first, second = finished_dictionaries(moved / "run")
    path = first / "training.json"
    said = json.loads(path.read_text())
    assert said["settings"]["activations"] != older
    said["settings"]["activations"] = older
    path.write_text(json.dumps(said))
    train(settings(finished, moved))
    assert "2 dictionaries are there; nothing to do" in capsys.readouterr().out
    said["settings"]["activations"] = "0" * 16
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"was made with activations = '0000000000000000'"):
        train(settings(finished, moved))
    assert second.exists()


@pytest.mark.parametrize("model", ["same", "other"])
def test_a_run_made_before_is_known_by_its_weights(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    made_before = ROOT / "tests" / "made_before"
    run = Path(shutil.copytree(made_before / "run", tmp_path / "run"))
    folder = Path(shutil.copytree("data/tiny_gpt2", tmp_path / "model"))
    config = load(made_before / "experiment.toml", "--run", str(run), "--model.name", str(folder))
    if model == "other":
        change_weights(folder)
        with pytest.raises(UserError, match="weights_sha256 of the model = "):
            harvest(config)
    else:
        harvest(config)
        assert "nothing to do" in capsys.readouterr().out


def test_a_damaged_hash_in_the_manifest_is_named(moved: Path) -> None:
    path = moved / "run" / "activations" / MANIFEST
    said = json.loads(path.read_text())
    said["model"]["files_sha256"] = 3
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"manifest\.json: model\.files_sha256: expected a sha256 of 64"):
        read_manifest(path.parent)


def test_hashes_of_a_folder(tmp_path: Path, gpt2: Path) -> None:
    assert config_hash(tmp_path) == ""
    assert files_hash(tmp_path, tmp_path) == ""
    found = files_hash(tmp_path, gpt2)
    copy = Path(shutil.copytree(gpt2, tmp_path / "copy"))
    assert files_hash(tmp_path, copy) == found
    (copy / "training_args.bin").write_bytes(b"of no weight")
    (copy / "README.md").write_text("a card")
    assert files_hash(tmp_path, copy) == found
    path = copy / "config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "_name_or_path": "/home/somebody", "dtype": "bfloat16"})
    )
    assert config_hash(copy) == config_hash(gpt2)
