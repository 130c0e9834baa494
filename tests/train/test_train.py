import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from tests.experiments import ROOT, run_stage
from tests.stores import planted, write_store
from tests.train.experiments import HOOK, load, weights, write_run
from train.learner import Learner
from train.stage import train
from winnow.errors import UserError

pytestmark = pytest.mark.usefixtures("two_threads")

TOPK: dict[str, Any] = {"architecture": "topk", "n_latents": 48, "k": 3}
RELU: dict[str, Any] = {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5}


def test_planted_features_are_found(tmp_path: Path) -> None:
    x, directions = planted(4000, 24, 32, 2)
    write_store(tmp_path / "run" / "activations", {HOOK: x})
    grids = [grid | {"learning_rate": 1e-2} for grid in ({**TOPK, "k": 5}, {**RELU, "l1_coefficient": 1.0})]
    train(load(write_run(tmp_path, grids, rows=100_000, checkpoint_rows=100_000), "--train.warmup", "0.2"))
    for d in winnow.load_dictionaries(tmp_path / "run"):
        f = d.encode(x)
        fvu = float((d.decode(f) - x).square().sum() / (x - x.mean(0)).square().sum())
        found = float(((directions @ d.W_dec.T).amax(1) > 0.9).float().mean())
        assert (fvu < 0.1, found > 0.9) == (True, True), (d, fvu, found, float((f > 0).float().sum(1).mean()))


def test_scale_is_folded_into_the_weights(tmp_path: Path) -> None:
    """What is saved does to raw activations what training did to scaled ones."""
    path = write_run(tmp_path, [TOPK, RELU])
    learners: list[Learner] = []
    original = Learner.dictionary

    def remember(self: Learner, scale: float) -> winnow.Dictionary:
        learners.append(self)
        return original(self, scale)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "dictionary", remember)
        train(load(path))
    x, _ = planted(100, 16, 40, 3)
    for learner in learners:
        d = winnow.load_dictionary(learner.planned.folder)
        scale = d.provenance["folded_scale"]
        p = learner.parameters
        pre = (scale * x - p["b_dec"]) @ p["W_enc"].T + p["b_enc"]
        f = pre.relu()
        if d.k:
            f = torch.zeros_like(f).scatter(1, f.topk(d.k).indices, 1) * f
        torch.testing.assert_close(d.encode(x) * scale, f, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(d(x) * scale, f @ p["W_dec"] + p["b_dec"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(d.W_dec.norm(dim=1), torch.ones(48))


def test_learner_of_a_sweep_equals_the_dictionary_alone(tmp_path: Path) -> None:
    train(load(write_run(tmp_path / "sweep", [TOPK, RELU, {**TOPK, "seed": [1]}])))
    train(load(write_run(tmp_path / "alone", [RELU])))
    name = f"{HOOK}/relu-48-l1_0.5-seed0"
    assert weights(tmp_path / "alone" / "run")[name] == weights(tmp_path / "sweep" / "run")[name]


def test_loss_that_is_not_finite_stops_that_dictionary_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path, [TOPK, {**RELU, "learning_rate": 1e30}])
    train(load(path))
    assert list(weights(tmp_path / "run")) == [f"{HOOK}/topk-48-k3-seed0"]
    out, err = capsys.readouterr()
    assert re.search(r"relu-48-l1_0.5-lr1e\+30-seed0: loss (nan|inf) by row [\d,]+; stopped", err)
    assert "with the same settings it stops there again: choose a lower learning_rate, and delete the folder" in out
    train(load(path))
    out, err = capsys.readouterr()
    assert "1 dictionaries are there; nothing to do" in out
    assert "stopped" not in err


def test_failure_is_recorded_once_the_others_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in between would leave the others at a state that they reached beside the one that failed."""
    path = write_run(tmp_path, [TOPK, {**RELU, "learning_rate": 1e30}], checkpoint_rows=5000)
    recorded = []

    def record(at: Path, text: str) -> None:
        states = list((tmp_path / "run").glob("dictionaries/*/topk*/checkpoints/rows-*/state.json"))
        assert [json.loads(state.read_text())["rows"] for state in states] == [json.loads(text)["rows"]]
        recorded.append(at)

    monkeypatch.setattr("train.sweep.publish_text", record)
    train(load(path))
    assert [at.name for at in recorded] == ["failed.json"]


def test_half_a_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK])
    half = tmp_path / "run" / "dictionaries" / HOOK / "topk-48-k3-seed0" / "checkpoints" / "rows-0000000001000.partial"
    half.mkdir(parents=True)
    (half / "state.json").touch()  # opened for writing, and then the process was killed
    train(load(path))
    assert list(weights(tmp_path / "run")) == [f"{HOOK}/topk-48-k3-seed0"]
    assert not half.exists()


def test_finished_training_says_so_without_torch(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK])
    train(load(path))
    before = weights(tmp_path / "run")
    done = run_stage("train", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 dictionaries are there; nothing to do" in done.stdout
    assert weights(tmp_path / "run") == before
    code = "import sys, train.stage, winnow.runtime.stage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_provenance_and_curve_stand_beside_the_weights(tmp_path: Path) -> None:
    train(load(write_run(tmp_path, [TOPK])))
    folder = tmp_path / "run" / "dictionaries" / HOOK / "topk-48-k3-seed0"
    record = json.loads((folder / "training.json").read_text())
    assert record["rows"] == 6000
    assert record["settings"]["learning_rate"] == 1e-3
    assert record["activations"]["model"]["name"] == "planted"
    assert record["versions"]["torch"] == torch.__version__
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert set(points[0]) == {"rows", "loss", "mse", "fvu", "l0", "dead", "rows_per_second"}
    assert points[-1]["fvu"] < points[0]["fvu"]
    assert points[-1]["l0"] <= 3
    assert sorted(p.name for p in folder.iterdir()) == [
        "cfg.json",
        "metrics.jsonl",
        "sae_weights.safetensors",
        "training.json",
    ]


def test_settings_under_finished_dictionaries_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK])
    train(load(path))
    with pytest.raises(UserError, match="was made with rows = 6000, now rows = 7000 is asked for; choose a new run"):
        train(load(path, "--train.rows", "7000"))


def test_new_dictionaries_are_added_to_finished_ones(tmp_path: Path) -> None:
    train(load(write_run(tmp_path, [TOPK])))
    before = weights(tmp_path / "run")
    train(load(write_run(tmp_path, [TOPK, RELU])))
    after = weights(tmp_path / "run")
    assert len(after) == 2
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("dictionaries", "message"),
    [
        ([], "train.dictionaries: none is asked for; add a table [[train.dictionaries]]"),
        (
            [{**TOPK, "hooks": "blocks.0.hook_resid_pst"}],
            "train.dictionaries.0.hooks: no hook blocks.0.hook_resid_pst among those of harvest.hooks; did you mean "
            f"{HOOK}?",
        ),
        ([TOPK, {**TOPK, "n_latents": [32, 48]}], f"train.dictionaries.1: {HOOK}/topk-48-k3-seed0 is asked for twice"),
    ],
    ids=["none", "hook", "twice"],
)
def test_impossible_request_is_named(dictionaries: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        train(load(write_run(tmp_path, dictionaries)))


def test_unfinished_harvest_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK])
    (tmp_path / "run" / "activations" / "shard-00002.json").unlink()
    with pytest.raises(UserError, match=r"activations: the harvest is not finished; run make harvest"):
        train(load(path))
    (tmp_path / "run" / "activations" / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"manifest\.json: no such file; .* run make harvest"):
        train(load(path))
