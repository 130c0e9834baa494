"""The whole pipeline as its configuration for GPT-2 small has it, against a hub on this machine, with small numbers."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import pytest
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

import winnow
from tests.experiments import ROOT
from tests.hub import serve
from tests.hub.content import MODEL, write_parquet
from tests.models import EMBEDDED

pytestmark = pytest.mark.hub

DATA_SET = "apollo-research/Skylion007-openwebtext-tokenizer-gpt2"
CONFIG = "configs/gpt2-small.toml"
HOOKS = tomllib.loads((ROOT / CONFIG).read_text())["harvest"]["hooks"]
MAKE = ["make", "--old-file=.venv/.ready", f"BIN={Path(sys.executable).parent}"]  # in the environment of the tests
NUMBERS = {
    "text.tokens": 12_800,
    "train.rows": 2048,
    "train.batch_rows": 256,
    "train.dictionaries": [{"architecture": "topk", "n_latents": [16, 32], "k": 4}],
    "text.held_out_sequences": 8,
    "model.device": "cpu",
}


def fill(root: Path) -> None:
    """Serve a small random model of GPT-2's depth by its name, and a data set of token ids by the configuration's."""
    small = GPT2Config(vocab_size=4096, n_positions=128, n_embd=16, n_layer=8, n_head=2, bos_token_id=0, eos_token_id=0)
    folder = root / "models" / MODEL
    GPT2LMHeadModel(small).save_pretrained(folder)
    AutoTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
    rows = [[(17 * row + 5 * n) % 4096 for n in range(128)] for row in range(110)]
    write_parquet(root / "datasets" / DATA_SET / "data" / "train-00000-of-00001.parquet", input_ids=rows)


def test_make_all_of_gpt2_small_runs_by_names_on_the_hub(tmp_path: Path):
    fill(tmp_path / "hub")
    numbers = {"run": str(tmp_path / "run"), **NUMBERS}
    words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in numbers.items()]
    with serve(tmp_path / "hub", tmp_path / "cache") as hub:
        made = subprocess.run(
            [*MAKE, "all", f"CONFIG={CONFIG}", f"ARGS={shlex.join(words)}"],
            cwd=ROOT,
            env={**os.environ, **hub.environment},
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        commits = hub.model(MODEL).refs["main"], hub.data_set(DATA_SET).refs["main"]
    with h5py.File(tmp_path / "run" / "tokens.h5") as file:
        assert (file.attrs["tokenizer_commit"], file.attrs["text_commit"]) == commits
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    assert list(store.hooks) == HOOKS
    assert (store.manifest["model"]["commit"], store.manifest["text_commit"]) == commits
    dictionaries = winnow.load_dictionaries(tmp_path / "run")
    assert sorted((d.hook, d.n_latents) for d in dictionaries) == [(h, n) for h in sorted(HOOKS) for n in (16, 32)]
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert len(metrics["dictionaries"]) == 4
    assert all(entry["ce"]["recovered"] is not None for entry in metrics["dictionaries"])
