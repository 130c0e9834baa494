"""What SAELens' settings do to a dictionary, by their formulas; tests/interop holds them against SAELens itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.winnow.test_dictionary import D, N, rows, tensors, write_saelens
from winnow.dictionary import load_dictionary
from winnow.errors import UserError
from winnow.formats.saelens import describe

SCALED = {"normalize_activations": "expected_average_only_in"}
WHITENED = {"normalize_activations": "covariance_whitening"}


def whitening() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    matrix = torch.eye(D, dtype=torch.float64) + 0.1 * torch.randn(D, D, generator=generator, dtype=torch.float64)
    mean = torch.randn(D, generator=generator, dtype=torch.float64)
    return {"mean": mean, "matrix": matrix, "inverse_matrix": matrix.inverse().contiguous()}


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_checkpoints_scale_is_folded_in(tmp_path: Path) -> None:
    w, x = tensors("b_enc"), rows(20)
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 2.5, "has_whitening": false}')
    d = load_dictionary(write_saelens(tmp_path, w, **SCALED))
    f = torch.relu((2.5 * x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    assert_same(d.encode(x), f)
    assert_same(d(x), (f @ w["W_dec"] + w["b_dec"]) / 2.5)


@pytest.mark.parametrize("centred", [True, False])
def test_a_checkpoints_whitening_is_folded_in(centred: bool, tmp_path: Path) -> None:
    w, x, white = tensors("b_enc"), rows(20), whitening()
    save_file(white, tmp_path / "activation_whitening.safetensors")
    d = load_dictionary(write_saelens(tmp_path, w, **WHITENED, apply_b_dec_to_input=centred))
    z = ((x.double() - white["mean"]) @ white["matrix"]).float()
    f = torch.relu((z - w["b_dec"] * centred) @ w["W_enc"] + w["b_enc"])
    assert_same(d.encode(x), f)
    assert_same(d(x), ((f @ w["W_dec"] + w["b_dec"]).double() @ white["inverse_matrix"] + white["mean"]).float())


@pytest.mark.parametrize(("theirs", "ours"), [("batchtopk", "batchtopk"), ("matryoshka_batchtopk", "matryoshka")])
def test_a_checkpoint_with_one_threshold_for_all_latents(theirs: str, ours: str, tmp_path: Path) -> None:
    w, x = tensors("b_enc"), rows(20)
    stored = {**w, "topk_threshold": torch.tensor(0.7, dtype=torch.float64)}
    d = load_dictionary(write_saelens(tmp_path, stored, architecture=theirs, k=3.0, rescale_acts_by_decoder_norm=True))
    pre = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * w["W_dec"].norm(dim=1)
    assert d.architecture == ours
    assert_same(d.encode(x), pre * (pre > 0.7))


def test_what_was_trained_as_batchtopk_keeps_its_name(tmp_path: Path) -> None:
    metadata = {"training_architecture": "matryoshka_batchtopk"}
    d = load_dictionary(
        write_saelens(tmp_path, tensors("b_enc", "threshold"), architecture="jumprelu", metadata=metadata)
    )
    assert d.architecture == "matryoshka"
    assert describe("jumprelu", d.architecture, D, N, None, {})["metadata"]["training_architecture"] == (
        "matryoshka_batchtopk"
    )


def test_a_rank_by_decoder_norm_means_nothing_where_nothing_is_ranked(tmp_path: Path) -> None:
    w, x = tensors("b_gate", "b_mag", "r_mag"), rows(20)
    written = write_saelens(tmp_path / "a", w, architecture="gated", rescale_acts_by_decoder_norm=True)
    plain = write_saelens(tmp_path / "b", w, architecture="gated")
    assert torch.equal(load_dictionary(written).encode(x), load_dictionary(plain).encode(x))


def test_a_latent_with_a_zero_decoder_row_stays_silent(tmp_path: Path) -> None:
    w = tensors("b_enc")
    w["W_dec"][2] = 0
    d = load_dictionary(write_saelens(tmp_path, w, architecture="topk", k=10, rescale_acts_by_decoder_norm=True))
    assert d.encode(rows(20))[:, 2].max() < 1e-6
    assert d(rows(20)).isfinite().all()


def test_a_factor_of_finetuning_scales_what_is_decoded(tmp_path: Path) -> None:
    w, x = tensors("b_enc", "scaling_factor"), rows(20)
    old = {"d_in": D, "d_sae": N, "hook_point": "h"}
    save_file(w, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({**old, "finetuning_scaling_factor": True}))
    f = torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    d = load_dictionary(tmp_path)
    assert_same(d.encode(x), f)
    assert_same(d(x), (f * w["scaling_factor"]) @ w["W_dec"] + w["b_dec"])
    (tmp_path / "cfg.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"has a scaling_factor, but cfg\.json does not set finetuning"):
        load_dictionary(tmp_path)


def test_a_threshold_that_was_trained_as_its_logarithm(tmp_path: Path) -> None:
    w, x = tensors("b_enc", "log_threshold"), rows(20)
    d = load_dictionary(write_saelens(tmp_path, w, architecture="jumprelu"))
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    assert_same(d.encode(x), pre * (pre > w["log_threshold"].exp()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_other_dtypes_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    w, x = {name: tensor.to(dtype) for name, tensor in tensors("b_enc").items()}, rows(20)
    d = load_dictionary(write_saelens(tmp_path, w, dtype=str(dtype).removeprefix("torch.")))
    assert d.W_enc.dtype == torch.float32
    assert_same(d.encode(x), torch.relu((x - w["b_dec"].float()) @ w["W_enc"].float() + w["b_enc"].float()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalize_activations": "layer_norm"}, "normalize_activations = 'layer_norm' scales each input by its own"),
        ({"normalize_activations": "constant_norm_rescale"}, "'constant_norm_rescale' scales each input by its own"),
        (SCALED, "needs a scale that is not in the weights, and there is no activation_scaler.json beside it"),
        (WHITENED, "needs a matrix that is not in the weights, and there is no activation_whitening.safetensors"),
        ({"normalize_activations": "by_magic"}, "normalize_activations = 'by_magic' is not known"),
        ({"apply_b_dec_to_input": "false"}, "apply_b_dec_to_input should be true or false, found 'false'"),
        ({"architecture": ["topk"]}, "architecture ['topk'] is none of"),
        ({"architecture": "transcoder"}, "architecture 'transcoder' is none of"),
        ({"architecture": "batchtopk"}, "no tensor topk_threshold; there are W_dec, W_enc, b_dec, b_enc"),
        ({"metadata": "gpt2"}, "metadata should be an object, found 'gpt2'"),
    ],
    ids=str,
)
def test_what_cannot_be_folded_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_saelens(tmp_path, tensors("b_enc"), **change)
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("scale", ["null", "0", "-1.0", "Infinity", '"two"', "true"])
def test_a_scale_that_is_none_is_named(scale: str, tmp_path: Path) -> None:
    (tmp_path / "activation_scaler.json").write_text(f'{{"scaling_factor": {scale}}}')
    write_saelens(tmp_path, tensors("b_enc"), **SCALED)
    with pytest.raises(UserError, match=r"activation_scaler\.json: scaling_factor should be a positive number, found"):
        load_dictionary(tmp_path)


def test_a_whitening_of_another_size_is_named(tmp_path: Path) -> None:
    save_file({**whitening(), "mean": torch.zeros(3)}, tmp_path / "activation_whitening.safetensors")
    write_saelens(tmp_path, tensors("b_enc"), **WHITENED)
    with pytest.raises(UserError, match=re.escape("mean has shape (3,), cfg.json says (6,)")):
        load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu' is not supported; expected relu or topk"),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": [3]}, "activation_fn_kwargs should be an object"),
        ({"activation_fn_str": "topk"}, "k should be a positive integer, found None"),
    ],
    ids=str,
)
def test_an_old_file_that_is_malformed_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_file(tensors("b_enc"), tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "d_sae": N, **change}))
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


def test_an_attention_output_is_reshaped_by_saelens_and_a_model_goes_by_its_old_name() -> None:
    config = describe(
        "topk", "topk", D, N, 3, {"hook_name": "blocks.0.attn.hook_z", "model_name": "openai-community/gpt2-large"}
    )
    assert config["reshape_activations"] == "hook_z"
    assert config["metadata"]["model_name"] == "gpt2-large"
    other = describe("topk", "topk", D, N, 3, {"hook_name": "h", "model_name": "EleutherAI/pythia-70m"})
    assert (other["reshape_activations"], other["metadata"]["model_name"]) == ("none", "EleutherAI/pythia-70m")
