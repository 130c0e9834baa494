"""Dictionaries that dictionary_learning made open with winnow, and do the same here."""

# pyright: reportMissingImports=false

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dictionary_learning.dictionary import AutoEncoderNew
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from dictionary_learning.utils import load_dictionary

import winnow
from tests.interop.agreement import assert_agrees, randomise, some_rows

D, N = 12, 40
COMMON = {"steps": 10_000, "activation_dim": D, "dict_size": N, "layer": 3, "lm_name": "some/model", "device": "cpu"}

# dict_class: (its trainer, settings, what winnow calls it)
TRAINERS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "AutoEncoder": (StandardTrainer, {}, "relu"),
    "GatedAutoEncoder": (GatedSAETrainer, {}, "gated"),
    "AutoEncoderTopK": (TopKTrainer, {"k": 5}, "topk"),
    "BatchTopKSAE": (BatchTopKTrainer, {"k": 5}, "batchtopk"),
    "MatryoshkaBatchTopKSAE": (MatryoshkaBatchTopKTrainer, {"k": 5, "group_fractions": [0.25, 0.75]}, "matryoshka"),
    "JumpReluAutoEncoder": (JumpReluTrainer, {"target_l0": 5.0}, "jumprelu"),
}
EVERY = pytest.mark.parametrize("name", TRAINERS)


def build(name: str) -> Any:
    """Build a trainer whose dictionary has random weights, biases and thresholds."""
    trainer, settings, _ = TRAINERS[name]
    made = trainer(**COMMON, **settings, submodule_name="resid_post_layer_3")
    randomise(made.ae)
    if "threshold" in dict(made.ae.named_buffers()):
        made.ae.threshold.fill_(0.8)
    return made


def save(made: Any, folder: Path) -> Path:
    """Write what `trainSAE` writes."""
    folder.mkdir(exist_ok=True)
    torch.save({name: value.cpu() for name, value in made.ae.state_dict().items()}, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": made.config, "buffer": {"io": "out", "ctx_len": 128}}))
    return folder


@EVERY
def test_what_a_trainer_saves(name: str, tmp_path: Path) -> None:
    theirs, config = load_dictionary(str(save(build(name), tmp_path)), device="cpu")
    d = winnow.load_dictionary(tmp_path)
    assert config["trainer"]["dict_class"] == name
    assert (d.architecture, d.hook, d.d_model, d.n_latents) == (TRAINERS[name][2], "resid_post_layer_3", D, N)
    assert_agrees(d, theirs.encode, theirs.decode, some_rows(D))


@EVERY
def test_what_a_trainer_saves_after_some_steps(name: str, tmp_path: Path) -> None:
    made = build(name)
    for step in range(5):
        made.update(step, some_rows(D, 64))
    theirs, _ = load_dictionary(str(save(made, tmp_path)), device="cpu")
    assert_agrees(winnow.load_dictionary(tmp_path), theirs.encode, theirs.decode, some_rows(D))


@pytest.mark.parametrize("name", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_dictionary_whose_threshold_was_never_set(name: str, tmp_path: Path) -> None:
    made = build(name)
    made.ae.threshold.fill_(-1)
    theirs, _ = load_dictionary(str(save(made, tmp_path)), device="cpu")
    assert_agrees(winnow.load_dictionary(tmp_path), theirs.encode, theirs.decode, some_rows(D))


def test_the_architecture_of_the_april_update(tmp_path: Path) -> None:
    made = build("AutoEncoder")
    made.ae = AutoEncoderNew(D, N)
    randomise(made.ae)
    save(made, tmp_path)
    config = {"trainer": {**made.config, "dict_class": "AutoEncoderNew"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    theirs, _ = load_dictionary(str(tmp_path), device="cpu")
    assert_agrees(winnow.load_dictionary(tmp_path), theirs.encode, theirs.decode, some_rows(D))


@EVERY
def test_bfloat16(name: str, tmp_path: Path) -> None:
    made = build(name)
    made.ae.bfloat16()
    save(made, tmp_path)
    made.ae.float()
    save(made, tmp_path / "as-float32")
    theirs, _ = load_dictionary(str(tmp_path / "as-float32"), device="cpu")
    assert_agrees(winnow.load_dictionary(tmp_path), theirs.encode, theirs.decode, some_rows(D))


def test_sequences_of_rows(tmp_path: Path) -> None:
    theirs, _ = load_dictionary(str(save(build("AutoEncoderTopK"), tmp_path)), device="cpu")
    assert_agrees(winnow.load_dictionary(tmp_path), theirs.encode, theirs.decode, some_rows(D, 4, 6))
