"""SAELens evaluates winnow's dictionaries by what cfg.json says: model, hook, context and text, from a hub."""

# pyright: reportMissingImports=false

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import winnow
from tests.experiments import ROOT, write_config
from tests.hub import Hub, serve
from tests.models import EMBEDDED

MODEL, TEXT = "openai-community/gpt2", "someone/some-text"
HOOKS = ["blocks.2.hook_resid_post", "blocks.1.attn.hook_z"]
CONTEXT = 32


def save_as_gpt2(folder: Path) -> None:
    """Copy the embedded model, with the one key that TransformerLens wants and GPT-2's own config.json has."""
    shutil.copytree(EMBEDDED, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_ctx": config["n_positions"]}))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Serve the embedded model under the name of GPT-2 small, and the source of `logging` as a data set."""
    root = tmp_path_factory.mktemp("hub")
    save_as_gpt2(root / "models" / MODEL)
    folder = root / "datasets" / TEXT / "data"
    folder.mkdir(parents=True)
    paragraphs = Path(logging.__file__).read_text(encoding="utf-8").split("\n\n")
    pq.write_table(pa.table({"text": paragraphs}), folder / "train-00000-of-00001.parquet")
    with serve(root, tmp_path_factory.mktemp("cache")) as served:
        yield served


def run(hub: Hub, cwd: Path, module: str, *arguments: str) -> str:
    """Run `python -m MODULE` against the hub, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env={**os.environ, **hub.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def measured(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Harvest and train as a user does, then let SAELens evaluate."""
    folder = tmp_path_factory.mktemp("experiment")
    config = write_config(
        folder,
        Path(MODEL),
        text={"source": f"hub:{TEXT}", "context": CONTEXT, "tokens": 16_000, "prepend_bos": True},
        harvest={"hooks": HOOKS, "positions": {"skip_first": 1}},
        train={
            "rows": 60_000,
            "batch_rows": 256,
            "loggers": [],
            "dictionaries": [
                {"architecture": "topk", "n_latents": 256, "k": 12},
                {"architecture": "jumprelu", "n_latents": 256, "l0_coefficient": 1.0, "hooks": HOOKS[:1]},
            ],
        },
    )
    for stage in ("data", "harvest", "train"):
        run(hub, ROOT, stage, "--config", str(config))
    save_as_gpt2(folder / "gpt2")  # by this name SAELens asks for it, which finds it where it runs
    dictionaries = winnow.load_dictionaries(folder / "run")
    said = run(hub, folder, "tests.interop.evaluate", *(str(d.path) for d in dictionaries))
    found = json.loads(said.splitlines()[-1])
    return [{"architecture": d.architecture, "hook": d.hook, **f} for d, f in zip(dictionaries, found, strict=True)]


def test_the_dictionaries_were_made_for_both_hooks(measured: list[dict[str, Any]]) -> None:
    assert {(m["architecture"], m["hook"]) for m in measured} == {
        ("topk", HOOKS[0]),
        ("jumprelu", HOOKS[0]),
        ("topk", HOOKS[1]),
    }


def test_saelens_drew_sequences_as_winnow_packs_them(measured: list[dict[str, Any]]) -> None:
    for found in measured:
        assert {len(sequence) for sequence in found["tokens"]} == {CONTEXT}
        assert {sequence[0] for sequence in found["tokens"]} == {0}  # BOS


def test_both_measure_the_same(measured: list[dict[str, Any]]) -> None:
    for found in measured:
        theirs, ours = found["saelens"], found["winnow"]
        assert 2 < ours["l0"] < 100
        assert 0.3 < ours["explained_variance"] < 0.99
        assert ours["l0"] == pytest.approx(theirs["sparsity"]["l0"], rel=1e-3)
        quality = theirs["reconstruction_quality"]
        assert ours["explained_variance"] == pytest.approx(quality["explained_variance"], abs=1e-3)
        assert ours["mse"] == pytest.approx(quality["mse"], rel=1e-3)


def test_both_find_the_loss_recovered(measured: list[dict[str, Any]]) -> None:
    """Roughly: SAELens averages over tokens that follow no special one, and puts zeros in the place of these too."""
    for found in measured:
        theirs, ours = found["saelens"]["model_performance_preservation"], found["winnow"]
        assert ours["clean"] == pytest.approx(theirs["ce_loss_without_sae"], rel=0.1)
        assert ours["recovered"] == pytest.approx(theirs["ce_loss_score"], abs=0.05)
