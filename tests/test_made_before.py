"""A run made by an older version stays usable: nothing is made anew, training goes on to the same bytes.

made_before/run was made by commit e1e5eee, with one dictionary finished and one stopped at row 60,160 of 200,000. Left
out of it are the figures and, in the page, plotly.js. finished.safetensors is what that commit made of the other one.
"""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analyze.stage import measure_run
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, load
from train.stage import train
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.runtime.threads import one_thread
from winnow.verify import verify

MADE_BEFORE = ROOT / "tests" / "made_before"
FINISHED = "dictionaries/blocks.1.hook_resid_post/topk-64-k4-seed0"
HALF_TRAINED = "dictionaries/blocks.1.hook_resid_post/relu-32-l1_1-seed0"
PROBE = "9725f33f7926fe61eddd3e480b4a10021ab020883519327d7d530020200a5b9d"


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the run name the model and the text relative to the repository's root."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run as it was made."""
    return Path(shutil.copytree(MADE_BEFORE / "run", tmp_path / "run"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run whose training went on to its end; tests that write take a copy of it."""
    folder = Path(shutil.copytree(MADE_BEFORE / "run", tmp_path_factory.mktemp("finished") / "run"))
    with contextlib.chdir(ROOT):
        train(settings(folder))
    return folder


def settings(run: Path) -> Experiment:
    return load(MADE_BEFORE / "experiment.toml", "--run", str(run))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def probe() -> str:
    """Hash products of the training's shapes: processors on which they agree train to the same bytes."""
    random = np.random.default_rng(0)
    x, W = (torch.from_numpy(random.standard_normal(shape, dtype=np.float32)) for shape in ((256, 128), (128, 32)))
    with one_thread():
        latents = (x @ W).relu()
        parts = (latents, latents @ W.T, latents.T @ x)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def test_tokens_and_activations_need_not_be_made_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    make_tokens(settings(run))
    harvest(settings(run))
    assert capsys.readouterr().out.count("nothing to do") == 2
    assert contents(run) == before


def test_the_resolved_configuration_loads(run: Path) -> None:
    resolved = load(run / "config.toml", "--run", str(run))
    then = load(MADE_BEFORE / "experiment.toml", "--run", str(run), "--train.compute_dtype", "float32")  # the default
    assert resolved.model_dump(exclude={"config"}) == then.model_dump(exclude={"config"})


def test_training_resumes_to_the_same_bytes(finished: Path) -> None:
    done = MADE_BEFORE / "run" / FINISHED
    assert {path.name: path.read_bytes() for path in done.iterdir()} == {
        path.name: path.read_bytes() for path in (finished / FINISHED).iterdir()
    }
    written, expected = finished / HALF_TRAINED / "sae_weights.safetensors", MADE_BEFORE / "finished.safetensors"
    if probe() == PROBE:
        assert written.read_bytes() == expected.read_bytes()
    else:
        ours, theirs = load_file(written), load_file(expected)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5)
    curve = [json.loads(line)["rows"] for line in (finished / HALF_TRAINED / "metrics.jsonl").read_text().splitlines()]
    assert curve == sorted(set(curve))
    assert curve[-1] == 200_000


def test_the_report_is_remade(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    measure_run(settings(run))
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    assert {entry["path"] for entry in metrics["dictionaries"]} == {FINISHED, HALF_TRAINED}
    assert metrics["evaluation"]["sequences"] == 32
    assert "plotly.js stood here" not in (run / "report" / "index.html").read_text()


def test_verify_accepts_the_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(settings(finished))
    said = capsys.readouterr().out.replace(str(finished), "run").splitlines()
    before = "made before hashes were kept"
    assert said == [
        f"run/activations: {before}; its shards are checked, manifest and statistics are not",
        f"run/tokens.h5: {before}; its tokens are checked, its attributes are not",
        f"run/{FINISHED}: {before}; only its weights are checked",
        f"run/report: {before}; not checked",
        "run: 2,976 rows of 1 hooks and 2 dictionaries are whole",
    ]


def test_verify_says_which_dictionaries_have_no_hash(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / FINISHED / "training.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "weights_sha256"}))
    with pytest.raises(UserError, match=r"relu-32-l1_1-seed0: unfinished at row 60,160; run make train$"):
        verify(settings(run))
    said = capsys.readouterr().out
    assert f"{run / FINISHED}: made before hashes were kept; not checked\n" in said
    assert "rows-0000000060160: made before hashes were kept; not checked\n" in said


def test_verify_refuses_weights_that_were_damaged(run: Path) -> None:
    path = run / FINISHED / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"sae_weights.safetensors: sha256 is"):
        verify(settings(run))


@pytest.mark.parametrize("name", ["tokens.h5", "activations/shard-00001.h5", "activations/shard-00000.json"])
def test_verify_finds_what_is_damaged_without_a_record(run: Path, name: str) -> None:
    shutil.rmtree(run / HALF_TRAINED)
    verify(settings(run))
    content = bytearray((run / name).read_bytes())
    content[-8] ^= 2
    (run / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: "):
        verify(settings(run))
