"""The stage: what it writes, what it leaves alone, what it makes again, and what it refuses."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import winnow.runtime.hashes
from data.tokens import make_tokens
from harvest.stage import harvest
from polytopes import measure as stage
from polytopes.experiments.table import EXPERIMENTS
from polytopes.reading.rows import read_rows, write_rows
from polytopes.stage import polytopes
from tests.experiments import ROOT, load, write_config
from tests.polytopes.miniature import harvested
from winnow.config.experiment import ModelSettings
from winnow.config.polytopes import EXPERIMENT_NAMES
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, open_model
from winnow.runtime.hashes import Noted, note
from winnow.runtime.record import read_record
from winnow.verify import verify

DENSITY = {"pairs": 50, "labels": "token"}


@pytest.fixture(scope="module", autouse=True)
def opened_once() -> Iterator[None]:
    """Open each model once, which takes longer than a small experiment."""
    opened: dict[str, LanguageModel] = {}

    def again(settings: ModelSettings, **options: Any) -> LanguageModel:
        if settings.name not in opened:
            opened[settings.name] = open_model(settings, **options)
        return opened[settings.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "open_model", again)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, gpt2: Path) -> Path:
    """The configuration of a run with two experiments made."""
    path = harvested(tmp_path_factory.mktemp("stage"), gpt2, experiments=["codes", "density"], density=DENSITY)
    polytopes(load(path))
    return path


def files(config: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and its bytes."""
    folder = Path(load(config).run) / "polytopes"
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def listed(config: Path) -> dict[str, Noted]:
    """What the run's hashes say of the stage's files."""
    record = winnow.runtime.hashes.read_hashes(Path(load(config).run))
    return {name.partition("/")[2]: said for name, said in record.items() if name.startswith("polytopes/")}


def remade(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in after if after[name][0] != before.get(name, (0,))[0]}


def test_every_experiment_has_a_name_in_the_settings():
    assert list(EXPERIMENTS) == EXPERIMENT_NAMES


def test_files_hold_what_was_asked_for_and_are_left_alone(made: Path, capsys: pytest.CaptureFixture[str]):
    before = files(made)
    assert set(before) == {"rows.json", "rows.h5", "codes.json", "density.json"}
    record = read_record(Path(load(made).run) / "polytopes" / "density.json")
    assert record.key.settings["density"] == {"labels": ["token"], "pairs": 50}
    assert set(record.key.settings) == {"layers", "rows", "positions", "untrained", "density", "seed"}
    assert set(record.key.inputs) == {"weights_sha256", "tokens", "harvested_sequences"}
    polytopes(load(made))
    assert files(made) == before
    assert "all 2 experiments are there; nothing to do" in capsys.readouterr().out


def test_nothing_to_do_needs_no_torch_and_no_writable_disk(made: Path):
    program = (
        "import sys; from polytopes.stage import polytopes; from winnow.config.command_line import load_experiment; "
        f"polytopes(load_experiment('x', ['--config', {str(made)!r}])); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_changed_setting_remakes_the_experiment_that_it_concerns(made: Path):
    before = files(made)
    polytopes(load(made, "--polytopes.density.pairs", "40"))
    after = files(made)
    assert remade(before, after) == {"density.json"}
    polytopes(load(made))
    assert {name: content for name, (_, content) in files(made).items()} == {n: c for n, (_, c) in before.items()}


def test_another_seed_or_other_rows_remake_everything(made: Path):
    before = files(made)
    polytopes(load(made, "--polytopes.rows", "59"))
    assert remade(before, files(made)) == set(before)
    polytopes(load(made))


def test_damaged_files_are_made_again_to_the_byte(made: Path, capsys: pytest.CaptureFixture[str]):
    before = files(made)
    folder = Path(load(made).run) / "polytopes"
    for name, damage, told in (
        ("codes.json", lambda text: text.replace(b'"bits":0.', b'"bits":1.', 1), "codes.json: expected sha256"),
        ("density.json", lambda text: text[:100], "density.json: cannot be read as JSON"),
        ("density.json", lambda text: b"{}", "density.json: expected the fields"),
        ("rows.h5", lambda text: text[:-1] + b"x", "rows.h5: expected sha256"),
        ("rows.h5", None, "rows.h5: No such file"),
        ("rows.json", None, ""),
    ):
        path = folder / name
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage(path.read_bytes()))
        polytopes(load(made))
        errors = capsys.readouterr().err
        assert told in errors
        assert errors.count("made again") == bool(told)
        after = files(made)
        assert {name: content for name, (_, content) in after.items()} == {n: c for n, (_, c) in before.items()}
        assert listed(made) == {name: note(folder / name) for name in before}


def test_clusters_stand_with_the_rows_whatever_is_lost(tmp_path: Path, gpt2: Path):
    small = {"representations": ["post:1", "code:0-1"], "min_cluster_size": 3, "min_samples": 1}
    config = harvested(tmp_path, gpt2, experiments=["clusters", "scaling"], untrained=False, clusters=small)
    polytopes(load(config))
    before, folder = files(config), Path(load(config).run) / "polytopes"
    rows = read_rows(folder / "rows.h5")
    assert list(rows.clusters) == ["post:1", "code:0-1"]
    table = read_record(folder / "clusters.json").results["tables"][0]
    assert int(rows.clusters["post:1"].max()) + 1 == table["clusters"]
    assert int((rows.clusters["post:1"] < 0).sum()) == round(table["noise"] * len(rows))
    for lost in (["rows.h5"], ["rows.json"], ["clusters.json"], ["rows.h5", "rows.json"]):  # as a run that died may
        for name in lost:
            (folder / name).unlink()
        polytopes(load(config))
        after = files(config)
        assert {name: content for name, (_, content) in after.items()} == {n: c for n, (_, c) in before.items()}
        assert listed(config) == {name: note(folder / name) for name in before}
    write_rows(folder / "rows.h5", replace(rows, clusters={}))  # died before it said what the rows are now
    polytopes(load(config))
    assert (folder / "rows.h5").read_bytes() == before["rows.h5"][1]


def test_a_file_that_is_gone_is_missed_by_verify(made: Path):
    path = Path(load(made).run) / "polytopes" / "density.json"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError, match=r"polytopes/density\.json: missing, hashes\.json lists it; run make polytopes"):
        verify(load(made))
    path.write_bytes(content)


def test_without_a_table_it_runs_when_called_and_not_in_the_chain(
    tmp_path: Path, gpt2: Path, capsys: pytest.CaptureFixture[str]
):
    config = load(write_config(tmp_path, gpt2))
    polytopes(config, if_configured=True)
    assert "no table [polytopes]" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    make_tokens(config)
    harvest(config)
    with pytest.raises(UserError, match=r"polytopes\.positions: 6 of -4 positions are asked for \(text\.context = 16"):
        polytopes(config)  # its defaults are for longer texts


def test_toy_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    toy = load(ROOT / "configs" / "toy.toml", "--run", str(tmp_path))
    with pytest.raises(UserError, match=r"toy\.toml: toy data have no model"):
        polytopes(toy)
    polytopes(toy, if_configured=True)
    assert "toy data have no model" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"polytopes has no meaning beside \[toy\]: toy data have no model"):
        load(ROOT / "configs" / "toy.toml", "--polytopes.rows", "10")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--polytopes.layers", "[0, 3]"], r"polytopes\.layers: 3: the model has layers 0 to 2"),
        (["--polytopes.rows", "121"], r"polytopes\.rows = 121: the 40 sequences .* hold 120; choose fewer"),
    ],
)
def test_what_the_model_and_its_text_do_not_have_is_refused(made: Path, arguments: list[str], message: str):
    before = files(made)
    with pytest.raises(UserError, match=message):
        polytopes(load(made, *arguments))
    assert files(made) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--polytopes.experiments", '["codes", "cods"]'], "experiments"),
        (["--polytopes.clusters.min_cluster_size", "1"], r"clusters\.min_cluster_size"),
        (["--polytopes.clusters.rows", "20001"], r"clusters\.rows"),
        (["--polytopes.clusters.rows", "61"], r"clusters\.rows = 61 is more than polytopes\.rows = 60"),
        (["--polytopes.clusters.representations", "post:0-2"], "representations"),
        (["--polytopes.clusters.representations", "code:3-1"], "a range goes from a lower layer to a higher one"),
        (["--polytopes.positions", '{"skip_first": 14, "evenly": 3}'], r"polytopes\.positions: 3 of 2 positions"),
        (["--polytopes.densty.pairs", "3"], r"densty|unrecognized"),
    ],
)
def test_impossible_settings_are_refused_by_name(made: Path, arguments: list[str], message: str):
    with pytest.raises(UserError, match=message):
        load(made, *arguments)


def test_a_gate_without_codes_refuses_the_whole_stage(tmp_path: Path, gpt2: Path):
    folder = tmp_path / "model"
    shutil.copytree(gpt2, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "activation_function": "tanh"}))
    config = harvested(tmp_path, folder)
    with pytest.raises(UserError, match=r"gate tanh: it is not of the form"):
        polytopes(load(config))
    assert not list((tmp_path / "run" / "polytopes").glob("*"))


@pytest.mark.kills
def test_killed_at_any_instant_the_same_command_gives_the_same_bytes(tmp_path: Path, gpt2: Path):
    config = harvested(tmp_path, gpt2, experiments=["codes", "maps", "radius"], untrained=False, layers=[0, 1])
    command = [sys.executable, "-m", "tests.polytopes.doomed", str(config), str(tmp_path / "doomed"), "--random", "6"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["files"] == ["codes.json", "maps.json", "radius.json", "rows.h5", "rows.json"]
    # the configuration and its hash, five files, and the hashes after each record: two syncs and a rename each
    assert said["steps"] == 3 * (2 + 5 + 4)
    assert said["killed"] == said["steps"] + 6
    assert said["different"] == []
