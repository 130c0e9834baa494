"""dictionary_learning's and sparsify's files: what they compute, and what is said of malformed ones.

tests/interop holds the same formats against the packages themselves.
"""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from winnow.dictionary import load_dictionary, save_dictionary
from winnow.errors import UserError

D, N = 6, 12


def draw(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(9))


def write_ae(folder: Path, state: Any = None, **trainer: Any) -> Path:
    """Write a folder as dictionary_learning does, of a topk dictionary unless told otherwise."""
    encoder, decoder, b_enc, b_dec = draw((N, D), (D, N), (N,), (D,))
    topk = {"encoder.weight": encoder, "decoder.weight": decoder, "encoder.bias": b_enc, "b_dec": b_dec}
    torch.save(topk | {"k": torch.tensor(3)} if state is None else state, folder / "ae.pt")
    settings = {"dict_class": "AutoEncoderTopK", "activation_dim": D, "dict_size": N, "k": 3, **trainer}
    (folder / "config.json").write_text(json.dumps({"trainer": settings, "buffer": {"io": "out"}}))
    return folder


def write_sparsify(folder: Path, **config: Any) -> dict[str, Tensor]:
    """Write a folder as sparsify does, and give its tensors."""
    encoder, decoder, b_enc, b_dec = draw((N, D), (N, D), (N,), (D,))
    stored = {"encoder.weight": encoder, "encoder.bias": b_enc, "W_dec": decoder, "b_dec": b_dec}
    save_file(stored, folder / "sae.safetensors")
    settings = {"activation": "topk", "num_latents": 0, "expansion_factor": 2, "k": 3, "d_in": D, **config}
    (folder / "cfg.json").write_text(json.dumps(settings))
    return stored


def test_dictionary_learnings_topk(tmp_path: Path) -> None:
    d = load_dictionary(write_ae(tmp_path, submodule_name="resid_post_layer_3", lm_name="gpt2"))
    encoder, decoder, b_enc, b_dec = draw((N, D), (D, N), (N,), (D,))
    pre = (rows(20) - b_dec) @ encoder.T + b_enc
    expected = torch.zeros_like(pre).scatter(1, pre.topk(3).indices, 1) * pre.relu()
    assert (d.architecture, d.k, d.hook, d.n_latents, d.d_model) == ("topk", 3, "resid_post_layer_3", N, D)
    torch.testing.assert_close(d.encode(rows(20)), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(d(rows(20)), expected @ decoder.T + b_dec, rtol=1e-5, atol=1e-5)


def test_sparsifys_groupmax_keeps_the_largest_of_each_group(tmp_path: Path) -> None:
    stored = write_sparsify(tmp_path, activation="groupmax", k=4)
    d, x = load_dictionary(tmp_path), rows(5, 4)
    pre = torch.relu((x - stored["b_dec"]) @ stored["encoder.weight"].T + stored["encoder.bias"])
    expected = torch.zeros_like(pre)
    for group in range(4):
        own = pre[..., group * 3 : group * 3 + 3]
        expected[..., group * 3 : group * 3 + 3] = torch.where(own == own.amax(-1, keepdim=True), own, 0)
    assert (d.architecture, d.groups, d.k) == ("groupmax", 4, None)
    torch.testing.assert_close(d.encode(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(d(x), expected @ stored["W_dec"] + stored["b_dec"], rtol=1e-5, atol=1e-5)


def test_groupmax_is_not_written_as_something_else(tmp_path: Path) -> None:
    write_sparsify(tmp_path, activation="groupmax", k=4)
    with pytest.raises(UserError, match="dictionaries are saved in SAELens' layout, which has no groupmax"):
        save_dictionary(load_dictionary(tmp_path), tmp_path / "copy", {}, {})
    assert not (tmp_path / "copy").exists()


class Malicious:
    """What a pickle may do when it is opened: here, write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("as_torch", [True, False])
def test_a_pickle_is_never_run(as_torch: bool, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    write_ae(tmp_path, {"encoder.weight": Malicious(ran)})
    if not as_torch:
        (tmp_path / "ae.pt").write_bytes(pickle.dumps({"encoder.weight": Malicious(ran)}, protocol=2))
    with pytest.raises(UserError) as refused:
        load_dictionary(tmp_path)
    said = "holds more than tensors (posix.mkdir); a pickle can run any program, so it is not opened"
    assert str(refused.value) == f"{tmp_path / 'ae.pt'}: {said}"
    assert not ran.exists()


def test_a_whole_module_is_not_unpickled(tmp_path: Path) -> None:
    write_ae(tmp_path, torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"holds more than tensors \(torch\.nn\.modules\.linear\.Linear\)"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"hello", b"PK\x03\x04 and no more"], ids=["empty", "text", "zip"])
def test_a_damaged_pickle_is_one_line(damage: bytes, tmp_path: Path) -> None:
    (write_ae(tmp_path) / "ae.pt").write_bytes(damage)
    with pytest.raises(UserError, match=r"ae\.pt: (cannot be read as PyTorch's format \(.*\)|holds more)") as refused:
        load_dictionary(tmp_path)
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)  # torch's advice to run the pickle after all


def test_a_truncated_pickle_is_one_line(tmp_path: Path) -> None:
    path = write_ae(tmp_path) / "ae.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"ae\.pt: cannot be read as PyTorch's format \(PytorchStreamReader failed"):
        load_dictionary(tmp_path)


def topk_state(**change: Any) -> dict[str, Any]:
    encoder, decoder, b_enc, b_dec = draw((N, D), (D, N), (N,), (D,))
    state = {"encoder.weight": encoder, "decoder.weight": decoder, "encoder.bias": b_enc, "b_dec": b_dec}
    return {name: value for name, value in {**state, **change}.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "trainer", "message"),
    [
        ([torch.ones(2)], {}, "ae.pt: expected a state dict of tensors, found list"),
        (topk_state(b_dec=None), {}, "no tensor b_dec; there are decoder.weight, encoder.bias, encoder.weight"),
        (topk_state(b_dec=3.0), {}, "no tensor b_dec; there are decoder.weight, encoder.bias, encoder.weight"),
        ({}, {}, "no tensor encoder.weight; there are none"),
        (topk_state(b_dec=torch.zeros(7)), {}, "b_dec has shape (7,), config.json says (6,)"),
        (topk_state(b_dec=torch.full((D,), torch.nan)), {}, "b_dec holds values that are not finite numbers"),
        (topk_state(b_dec=torch.ones(D, dtype=torch.int64)), {}, "b_dec: expected floating-point numbers, found int64"),
        (topk_state(b_dec=torch.ones(D, device="meta")), {}, "found no dense tensor with its data"),
        (topk_state(b_dec=torch.ones(D).to_sparse()), {}, "found no dense tensor with its data"),
        (topk_state(k=torch.tensor(4)), {}, "ae.pt: k is 4, config.json says 3"),
        (topk_state(k="three"), {}, "ae.pt: k is 'three', config.json says 3"),
        (None, {"k": 13}, "config.json: k = 13 is more than its 12 latents"),
        (None, {"k": None}, "config.json: k should be a positive integer, found None"),
        (None, {"dict_size": 13}, "encoder.weight has shape (12, 6), config.json says (13, 6)"),
        (None, {"activation_dim": "6"}, "activation_dim should be a positive integer, found '6'"),
        (None, {"dict_class": "IdentityDict"}, "dict_class 'IdentityDict' is none of AutoEncoder, AutoEncoderNew"),
        (None, {"dict_class": "BatchTopKSAE"}, "no tensor threshold; there are b_dec, decoder.weight, encoder.bias"),
        (None, {"dict_class": ["AutoEncoder"]}, "dict_class ['AutoEncoder'] is none of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_ae_is_named(state: Any, trainer: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_ae(tmp_path, state, **trainer)
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json: cannot be read as JSON"),
        ("[]", "config.json: expected a JSON object, found list"),
        ('{"trainer": 3}', "config.json: trainer should be an object, found 3"),
        ("{}", "config.json: dict_class None is none of AutoEncoder"),
        ('{"trainer": {"dict_class": "AutoEncoder"}, "buffer": {"io": "in_and_out"}}', "a transcoder (buffer.io ="),
    ],
    ids=lambda value: value,
)
def test_a_malformed_config_of_an_ae_is_named(config: str, message: str, tmp_path: Path) -> None:
    (write_ae(tmp_path) / "config.json").write_text(config)
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


def test_an_ae_without_its_config_is_named(tmp_path: Path) -> None:
    (write_ae(tmp_path) / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: no such file; is .* a finished dictionary\?"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"transcode": True},
            "transcode = true is not supported: a transcoder is not a dictionary of one hook",
        ),
        ({"skip_connection": True}, "skip_connection = true is not supported: it also passes its input around"),
        ({"signed": True}, "signed = true is not supported: its latents may be negative"),
        ({"transcode": "no"}, "transcode should be true or false, found 'no'"),
        ({"activation": "relu"}, "activation 'relu' is none of topk, groupmax"),
        ({"activation": ["topk"]}, "activation ['topk'] is none of topk, groupmax"),
        ({"activation": "groupmax", "k": 5}, "12 latents cannot be split into k = 5 groups of one size"),
        ({"k": 13}, "k = 13 is more than its 12 latents"),
        ({"d_in": None}, "d_in should be a positive integer, found None"),
        ({"expansion_factor": 1.5}, "expansion_factor should be a positive integer, found 1.5"),
        ({"num_latents": -4}, "num_latents should be a positive integer, found -4"),
        ({"num_latents": 24}, "encoder.weight has shape (12, 6), cfg.json says (24, 6)"),
    ],
    ids=str,
)
def test_a_malformed_folder_of_sparsify_is_named(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_sparsify(tmp_path, **config)
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


def test_sparsifys_missing_and_broken_tensors_are_named(tmp_path: Path) -> None:
    stored = write_sparsify(tmp_path)
    weights = tmp_path / "sae.safetensors"
    save_file({name: tensor for name, tensor in stored.items() if name != "W_dec"}, weights)
    with pytest.raises(UserError, match=r"no tensor W_dec; there are b_dec, encoder\.bias, encoder\.weight"):
        load_dictionary(tmp_path)
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(UserError, match=r"sae\.safetensors: cannot be read as safetensors"):
        load_dictionary(tmp_path)
    weights.unlink()
    weights.mkdir()
    with pytest.raises(UserError, match=r"sae\.safetensors: expected a file, found a folder"):
        load_dictionary(tmp_path)
