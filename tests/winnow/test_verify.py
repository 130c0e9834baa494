"""`make verify`: what is missing, what differs, what is unfinished, and what was made before hashes were kept."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from harvest.make_shards import merge_statistics
from tests.experiments import load, write_config
from tests.fuzz.run import make_runs
from tests.winnow.test_store import make_store
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError
from winnow.runtime.hashes import HASHES, change_hashes, note, read_hashes
from winnow.runtime.record import Key, write_record
from winnow.verify import verify

DICTIONARY = "dictionaries/blocks.1.hook_resid_post/topk-8-k2-seed0"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A run of a store and a dictionary that no stage has made: nothing is noted of it but shards and weights."""
    run = tmp_path / "run"
    run.mkdir()
    make_store(run / "activations")
    merge_statistics(run / "activations")
    torch.manual_seed(0)
    dictionary = Dictionary(
        torch.randn(5, 8), torch.zeros(8), torch.randn(8, 5), torch.zeros(5), hook="blocks.0.hook_resid_post"
    )
    save_dictionary(dictionary, run / "dictionaries" / "blocks.0.hook_resid_post" / "relu-8", {}, {})
    return write_config(tmp_path, tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, gpt2: Path) -> tuple[Experiment, Experiment]:
    """A finished run, and one whose training has only begun, made by the stages."""
    return make_runs(tmp_path_factory.mktemp("made"), gpt2)


@pytest.fixture
def finished(made: tuple[Experiment, Experiment], tmp_path: Path) -> Experiment:
    return made[0].model_copy(update={"run": str(shutil.copytree(made[0].run, tmp_path / "run"))})


def refusal(config: Experiment) -> str:
    with pytest.raises(UserError) as refused:
        verify(config)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_whole_run_is_said_to_be_whole(config: Path, capsys: pytest.CaptureFixture[str]):
    verify(load(config))
    said = capsys.readouterr().out
    assert said.endswith("28 rows of 2 hooks and 1 dictionaries are whole\n")
    assert (
        "activations: made before hashes were kept; its shards are checked, manifest and statistics are not\n" in said
    )
    assert "relu-8: made before hashes were kept; only its weights are checked\n" in said


def test_a_run_of_the_stages_leaves_nothing_unchecked(finished: Experiment, capsys: pytest.CaptureFixture[str]):
    verify(finished)
    assert capsys.readouterr().out == f"{finished.run}: 288 rows of 1 hooks and 2 dictionaries are whole\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("activations/shard-00001.h5", r"shard-00001\.h5: sha256 is .*; python -m harvest --repair"),
        (
            "dictionaries/blocks.0.hook_resid_post/relu-8/sae_weights.safetensors",
            r"sae_weights\.safetensors: sha256 is .*, and train again",
        ),
    ],
)
def test_one_flipped_bit_is_found_and_named(config: Path, tmp_path: Path, name: str, message: str):
    path = tmp_path / "run" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        verify(load(config))


def test_every_file_that_is_missing_or_changed_is_named(finished: Experiment):
    """Of all files that the stages wrote, one after another."""
    run = Path(finished.run)
    names = [name for name in read_hashes(run) if not name.startswith("tensorboard")]
    assert len(names) > 30
    for name in [*names, HASHES]:
        path = run / name
        content = path.read_bytes()
        path.unlink()
        assert f"{path}: " in refusal(finished), name
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert f"{path}: " in refusal(finished), name
        path.write_bytes(content[:-2])
        assert f"{path}: " in refusal(finished), name
        path.write_bytes(content)
    verify(finished)


def test_several_findings_are_all_listed(finished: Experiment, capsys: pytest.CaptureFixture[str]):
    run = Path(finished.run)
    for path in [*run.glob("activations/shard-00001.*"), run / "report" / "latents.h5"]:
        path.unlink()
    message = refusal(finished)
    listed = capsys.readouterr().out.splitlines()
    assert message == f"{listed[0]} (and {len(listed) - 1} more, see above)"
    for name in ("activations/shard-00001.h5", "activations/shard-00001.json", "report/latents.h5"):
        assert any(line.startswith(f"{run / name}: missing") for line in listed)


@pytest.mark.parametrize("every", [False, True])
def test_shards_that_are_gone_are_missed_without_a_record_too(config: Path, tmp_path: Path, every: bool):
    for path in (tmp_path / "run" / "activations").glob("shard-*" if every else "shard-00001.*"):
        path.unlink()
    count = 3 if every else 1
    assert f"missing, {count} of 3 shards are unfinished; run make harvest" in refusal(load(config))


def test_a_harvest_that_is_not_merged_is_unfinished(config: Path, tmp_path: Path):
    (tmp_path / "run" / "activations" / "statistics.h5").unlink()
    assert refusal(load(config)).endswith("statistics.h5: missing, the harvest is unfinished; run make harvest")


def test_a_training_that_has_only_begun_is_unfinished(made: tuple[Experiment, Experiment]):
    assert refusal(made[1]).endswith("topk-6-k2-seed0: unfinished at row 1,024; run make train")


def test_a_dictionary_that_the_report_measured_is_missed(finished: Experiment):
    """Also where somebody took it out of the record."""
    shutil.rmtree(Path(finished.run) / DICTIONARY)
    change_hashes(Path(finished.run), forget=[f"{DICTIONARY}/"])
    assert refusal(finished).startswith(f"{finished.run}/{DICTIONARY}: missing, ")


def test_tokens_of_another_run_are_found(finished: Experiment, tmp_path: Path):
    """The file is whole, and even noted, but the activations are of other tokens."""
    path = Path(finished.run) / "activations" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tokens"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(manifest))
    change_hashes(Path(finished.run), {"activations/manifest.json": note(path)})
    assert "made by another manifest" in refusal(finished)
    for sidecar in path.parent.glob("shard-*.json"):
        written = json.loads(sidecar.read_text())
        del written["manifest"]
        sidecar.write_text(json.dumps(written))
        change_hashes(Path(finished.run), {f"activations/{sidecar.name}": note(sidecar)})
    assert "tokens.h5: fingerprint " in refusal(finished)


def test_files_of_polytopes_are_checked_by_the_hashes_within_them(finished: Experiment):
    folder = Path(finished.run) / "polytopes"
    folder.mkdir()
    path = folder / "density.json"
    write_record(path, Key(1, {}, {}), {"ratio": 1.5})
    verify(finished)
    path.write_text(path.read_text().replace("1.5", "1.6"))
    assert refusal(finished).startswith(f"{path}: ")
    path.write_text("{}")
    assert "density.json: expected the fields version, inputs, settings, results and sha256" in refusal(finished)


def test_a_folder_that_is_no_run_is_said(config: Path, tmp_path: Path):
    assert refusal(load(config, "--run", str(tmp_path / "none"))).endswith(
        "none: no such folder; give the configuration of a run that was made"
    )
