"""A tensor that a format does not know is refused by name, and so is one that float32 cannot hold."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.winnow.formats.test_foreign import topk_state, write_ae, write_sparsify
from tests.winnow.test_dictionary import D, N, dictionary, rows, tensors, write_saelens
from winnow.dictionary import load_dictionary, save_dictionary
from winnow.errors import UserError
from winnow.formats.contents import HARMLESS, MOST

SQUARE, EACH, ONE = torch.zeros(D, D), torch.zeros(N), torch.tensor(0.5)


def add(path: Path, **more: Tensor) -> None:
    save_file({**load_file(path), **more}, path)


@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        ("standard", {"W_skip": SQUARE}),
        ("standard", {"threshold": EACH}),
        ("standard", {"topk_threshold": ONE}),
        ("standard", {"log_threshold": EACH}),
        ("standard", {"k": torch.tensor(3)}),
        ("jumprelu", {"threshold": EACH, "b_dec_out": torch.zeros(D)}),
        ("jumprelu", {"threshold": EACH, "log_threshold": EACH}),
        ("standard", {"activation_mean": torch.zeros(D)}),
        ("gated", {"b_gate": EACH, "b_mag": EACH, "r_mag": EACH}),  # beside b_enc
    ],
    ids=str,
)
def test_saelens_tensors_that_do_not_belong_there(architecture: str, more: dict[str, Tensor], tmp_path: Path) -> None:
    more = {name: tensor.clone() for name, tensor in more.items()}
    write_saelens(tmp_path, {**tensors("b_enc"), **more}, architecture=architecture)
    known = {"threshold"} if architecture == "jumprelu" else set(more) if architecture == "gated" else set()
    unknown = sorted((set(more) - known) or {"b_enc"})
    message = rf"weights\.safetensors: {', '.join(unknown)}: expected no such tensor in a {architecture} dictionary of"
    with pytest.raises(UserError, match=message):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("more", [{"W_skip": SQUARE}, {"post_enc": EACH}, {"skip.weight": SQUARE}, {"k": ONE}], ids=str)
def test_sparsifys_tensors_that_no_such_dictionary_has(more: dict[str, Tensor], tmp_path: Path) -> None:
    write_sparsify(tmp_path)
    add(tmp_path / "sae.safetensors", **more)
    message = f"sae.safetensors: {', '.join(more)}: expected no such tensor in a topk dictionary of sparsify, which has"
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("more", "trainer"),
    [
        ({"skip.weight": SQUARE}, {}),
        ({"W_skip": SQUARE}, {}),
        ({"group_sizes": torch.tensor([N])}, {}),
        ({"bias": torch.zeros(D)}, {}),
        ({"scale": 2.0}, {}),
        ({7: ONE}, {}),
        ({"threshold": ONE, "encoder.threshold": ONE}, {"dict_class": "BatchTopKSAE"}),
    ],
    ids=str,
)
def test_entries_that_no_class_of_dictionary_learning_has(
    more: dict[Any, Any], trainer: dict[str, Any], tmp_path: Path
) -> None:
    state = {**topk_state(), **more}
    write_ae(tmp_path, state, **trainer)
    name = trainer.get("dict_class", "AutoEncoderTopK")
    unknown = [str(key) for key in more if key != "threshold"]
    message = f"ae.pt: {', '.join(unknown)}: expected no such tensor in {name} of dictionary_learning, which has"
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


def test_many_unknown_tensors_are_one_line(tmp_path: Path) -> None:
    write_saelens(tmp_path, tensors("b_enc", *(f"x{i:03}" for i in range(200))))
    with pytest.raises(UserError, match=r"x000, x001, .*x007 …: expected no such tensor") as refused:
        load_dictionary(tmp_path)
    assert len(str(refused.value)) < 500


def test_what_training_leaves_beside_the_weights_changes_nothing(tmp_path: Path) -> None:
    plain = load_dictionary(write_saelens(tmp_path / "plain", tensors("b_enc")))
    beside = {name: torch.arange(N) for name in HARMLESS}
    found = load_dictionary(write_saelens(tmp_path / "more", {**tensors("b_enc"), **beside}))
    assert torch.equal(found.encode(rows(20)), plain.encode(rows(20)))
    assert all(HARMLESS.values())  # each with its reason


@pytest.mark.parametrize("name", ["AutoEncoderTopK", "BatchTopKSAE"])
def test_what_dictionary_learnings_classes_keep_changes_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    threshold = {"threshold": ONE} if name == "BatchTopKSAE" else {}
    state = {**topk_state(), **threshold}
    plain = load_dictionary(write_ae(tmp_path / "a", state, dict_class=name))
    kept = {"k": torch.tensor(3), "num_tokens_since_fired": torch.arange(N), "threshold": ONE}
    found = load_dictionary(write_ae(tmp_path / "b", {**state, **kept}, dict_class=name))
    assert torch.equal(found.encode(rows(20)), plain.encode(rows(20)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("W_enc", 1e300, "W_enc: expected at most 3.4e+38, the largest float32, found 1e+300 at [2, 3]"),
        ("W_dec", -1e39, "W_dec: expected at most 3.4e+38, the largest float32, found -1e+39 at [2, 3]"),
        ("b_enc", float("inf"), "b_enc holds values that are not finite numbers (inf at [2])"),
        ("b_dec", float("nan"), "b_dec holds values that are not finite numbers (nan at [2])"),
    ],
)
def test_weights_that_float32_cannot_hold_are_named(name: str, value: float, said: str, tmp_path: Path) -> None:
    w = {key: tensor.double() for key, tensor in tensors("b_enc").items()}
    w[name][(2, 3) if w[name].ndim == 2 else 2] = value
    with pytest.raises(UserError, match=re.escape(f"sae_weights.safetensors: {said}")):
        load_dictionary(write_saelens(tmp_path, w))


def test_a_scale_that_leaves_float32_is_named(tmp_path: Path) -> None:
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 1e300}')
    write_saelens(tmp_path, tensors("b_enc"), normalize_activations="expected_average_only_in")
    with pytest.raises(UserError, match=r"W_enc: expected at most 3\.4e\+38, the largest float32, found -?\d"):
        load_dictionary(tmp_path)


def test_a_gain_that_leaves_float32_is_named(tmp_path: Path) -> None:
    w = tensors("b_gate", "b_mag", "r_mag")
    w["r_mag"][4] = 100.0
    with pytest.raises(UserError, match=r"W_enc times exp\(r_mag\): expected at most 3\.4e\+38"):
        load_dictionary(write_saelens(tmp_path, w, architecture="gated"))


@pytest.mark.parametrize("value", [1e300, float("nan")])
def test_what_could_not_be_read_is_not_written(value: float, tmp_path: Path) -> None:
    d = dictionary().double()
    d.W_dec[1, 1] = value
    with pytest.raises(UserError, match=r"W_dec: expected at most 3\.4e\+38"):
        save_dictionary(d, tmp_path / "d", {}, {})
    assert list((tmp_path / "d").iterdir()) == []


def test_a_logarithm_in_half_precision_is_taken_in_double(tmp_path: Path) -> None:
    w = tensors("b_enc", "log_threshold")
    w["log_threshold"][0] = 11.5  # e to that is more than float16 holds
    stored = {name: tensor.half() for name, tensor in w.items()}
    d = load_dictionary(write_saelens(tmp_path, stored, architecture="jumprelu"))
    assert d.threshold is not None
    torch.testing.assert_close(d.threshold.data, stored["log_threshold"].double().exp().float())


@pytest.mark.parametrize("value", [MOST + 1, 10**4000])
def test_sizes_beyond_use_are_named_in_one_short_line(value: int, tmp_path: Path) -> None:
    write_saelens(tmp_path, tensors("b_enc"), d_sae=value)
    with pytest.raises(UserError, match=r"cfg\.json: d_sae should be at most 1,000,000,000, found 10") as refused:
        load_dictionary(tmp_path)
    assert len(str(refused.value)) < 300


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("lay", [fifo, device])
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda folder: save_dictionary(dictionary(), folder, {}, {}), "cfg.json"),
        (lambda folder: save_dictionary(dictionary(), folder, {}, {}), "sae_weights.safetensors"),
        (lambda folder: save_dictionary(dictionary(), folder, {}, {}), "training.json"),
        (write_sparsify, "sae.safetensors"),
        (write_ae, "ae.pt"),
        (write_ae, "config.json"),
    ],
)
def test_a_fifo_or_device_in_place_of_a_file_is_not_waited_for(
    write: Callable[[Path], object], name: str, lay: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    lay(tmp_path / name)
    with pytest.raises(UserError, match=rf"{re.escape(name)}: .*expected a file, found a (FIFO|device)"):
        load_dictionary(tmp_path)
