"""Subjects that several tests share: the embedded model, for what only a trained model shows, and one with relu."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from data.tokens import make_tokens
from harvest.stage import harvest
from polytopes.reading.subject import Subject
from tests.experiments import load
from tests.models import EMBEDDED, save_model
from tests.polytopes.miniature import harvested, subject_of


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """400 rows of the embedded model on docstrings of numpy and torch."""
    folder = tmp_path_factory.mktemp("embedded")
    path = folder / "experiment.toml"
    path.write_text(
        f"""
run = "{folder}/run"
model.name = "{EMBEDDED}"
text = {{ source = "files:{folder}/text.txt", context = 64, tokens = 8_000, held_out_sequences = 40 }}
harvest = {{ hooks = "blocks.0.hook_resid_post" }}
polytopes = {{ experiments = "codes", rows = 400, positions = {{ skip_first = 10, evenly = 4 }} }}
""",
        encoding="utf-8",
    )
    _write_docstrings(folder / "text.txt")
    make_tokens(load(path))
    harvest(load(path))
    return subject_of(path)


def _write_docstrings(path: Path) -> None:
    texts = [
        getattr(owner, name).__doc__
        for owner in (np, torch)
        for name in sorted(vars(owner))
        if callable(getattr(owner, name)) and isinstance(getattr(owner, name).__doc__, str)
    ]
    path.write_text("\n\n".join(texts)[:80_000], encoding="utf-8")


@pytest.fixture(scope="session")
def relu(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A small GPT-2 with relu in place of gelu, and random weights large enough to matter."""
    folder = tmp_path_factory.mktemp("relu")
    save_model("gpt2", folder / "model")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=4096,
        n_positions=64,
        n_embd=32,
        n_layer=3,
        n_head=4,
        activation_function="relu",
        initializer_range=0.2,
    )
    GPT2LMHeadModel(config).save_pretrained(folder / "model")
    return subject_of(harvested(folder, folder / "model"))
