"""Dictionaries that SAELens made open with winnow, and do the same here."""

# pyright: reportMissingImports=false

import json
from pathlib import Path
from typing import Any

import pytest
import sae_lens
import torch
from sae_lens import SAE
from sae_lens.training.activation_scaler import ActivationScaler

import winnow
from tests.interop.agreement import assert_agrees, randomise, some_rows
from winnow.errors import UserError

D, N = 12, 40
HOOK = "blocks.1.hook_resid_post"

# architecture: (SAELens' class, its settings, the architecture it is saved as, and what winnow calls it)
TRAINERS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "standard": ("Standard", {}, "standard", "relu"),
    "topk": ("TopK", {"k": 5}, "topk", "topk"),
    "topk-unscaled": ("TopK", {"k": 5, "rescale_acts_by_decoder_norm": False}, "topk", "topk"),
    "batchtopk": ("BatchTopK", {"k": 5.0}, "jumprelu", "batchtopk"),
    "jumprelu": ("JumpReLU", {}, "jumprelu", "jumprelu"),
    "gated": ("Gated", {}, "gated", "gated"),
    "matryoshka": ("MatryoshkaBatchTopK", {"k": 5.0, "matryoshka_widths": [10, 20, N]}, "jumprelu", "matryoshka"),
}
EVERY = pytest.mark.parametrize("name", TRAINERS)
CENTRED = pytest.mark.parametrize("centred", [True, False], ids=["less-b_dec", "as-it-is"])


def training_sae(name: str, centred: bool = True, dtype: str = "float32", **options: Any) -> Any:
    """Build SAELens' training SAE with random weights, biases and thresholds."""
    kind, settings, _, _ = TRAINERS[name]
    config = getattr(sae_lens, f"{kind}TrainingSAEConfig")(
        d_in=D, d_sae=N, dtype=dtype, apply_b_dec_to_input=centred, **settings, **options
    )
    config.metadata.hook_name = HOOK
    sae = getattr(sae_lens, f"{kind}TrainingSAE")(config)
    randomise(sae)
    if hasattr(sae, "topk_threshold"):
        sae.topk_threshold.fill_(0.8)
    return sae


@EVERY
@CENTRED
@pytest.mark.parametrize("shape", [(64,), (4, 6)], ids=["rows", "sequences"])
def test_what_saelens_saves_for_inference(name: str, centred: bool, shape: tuple[int, ...], tmp_path: Path) -> None:
    training_sae(name, centred).save_inference_model(tmp_path)
    sae = SAE.load_from_disk(tmp_path)
    d = winnow.load_dictionary(tmp_path)
    assert (sae.cfg.architecture(), d.architecture) == TRAINERS[name][2:]
    assert (d.d_model, d.n_latents, d.hook) == (D, N, HOOK)
    assert_agrees(d, sae.encode, sae.decode, some_rows(D, *shape))


@EVERY
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes(name: str, dtype: str, tmp_path: Path) -> None:
    training_sae(name, dtype=dtype).save_inference_model(tmp_path)
    sae = SAE.load_from_disk(tmp_path, dtype="float32")
    assert_agrees(winnow.load_dictionary(tmp_path), sae.encode, sae.decode, some_rows(D))


@EVERY
@CENTRED
@pytest.mark.parametrize("normalisation", ["none", "expected_average_only_in", "covariance_whitening"])
def test_a_checkpoint_is_what_saelens_makes_of_it_in_the_end(
    name: str, centred: bool, normalisation: str, tmp_path: Path
) -> None:
    sae = training_sae(name, centred, normalize_activations=normalisation)
    scaler = ActivationScaler()
    if normalisation == "expected_average_only_in":
        scaler.scaling_factor = 0.4
    if normalisation == "covariance_whitening":
        scaler.estimate_whitening(D, (x for x in some_rows(D, 10, 64)), n_batches_for_norm_estimate=10)
    sae.save_model(tmp_path / "checkpoint")  # as SAETrainer.save_checkpoint does
    scaler.save(str(tmp_path / "checkpoint" / "activation_scaler.json"))
    if scaler.scaling_factor is not None:  # as SAETrainer.fit does in the end
        sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
    if scaler.whitening is not None:
        white = scaler.whitening
        sae.fold_activation_whitening(white.mean, white.matrix, white.inverse_matrix)
    sae.save_inference_model(tmp_path / "final")
    final = SAE.load_from_disk(tmp_path / "final")
    assert_agrees(winnow.load_dictionary(tmp_path / "checkpoint"), final.encode, final.decode, some_rows(D))
    assert_agrees(winnow.load_dictionary(tmp_path / "final"), final.encode, final.decode, some_rows(D))


def test_an_inference_model_with_latents_ranked_by_decoder_norm(tmp_path: Path) -> None:
    sae = SAE.from_dict(
        {"architecture": "topk", "d_in": D, "d_sae": N, "k": 5, "rescale_acts_by_decoder_norm": True, "metadata": {}}
    )
    randomise(sae)
    sae.save_model(tmp_path)
    assert_agrees(winnow.load_dictionary(tmp_path), sae.encode, sae.decode, some_rows(D))


def test_attention_heads(tmp_path: Path) -> None:
    sae = training_sae("standard")
    sae.cfg.reshape_activations = "hook_z"
    sae.cfg.metadata.hook_name = "blocks.0.attn.hook_z"
    sae.save_inference_model(tmp_path)
    theirs, d = SAE.load_from_disk(tmp_path), winnow.load_dictionary(tmp_path)
    z = some_rows(4, 5, 7, 3)  # sequence, position, head, d_head
    torch.testing.assert_close(d.encode(z.flatten(2)), theirs.encode(z), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(d(z.flatten(2)), theirs(z).flatten(2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("old", [{"architecture": "standard"}, {"activation_fn_str": "topk"}, {}], ids=str)
def test_a_file_from_before_saelens_6(old: dict[str, Any], tmp_path: Path) -> None:
    sae = training_sae("standard")
    sae.save_inference_model(tmp_path)
    topk = {"activation_fn_kwargs": {"k": 3}} if "activation_fn_str" in old else {}
    written = {"d_in": D, "d_sae": N, "hook_point": HOOK, "dtype": "torch.float32", **old, **topk}
    (tmp_path / "cfg.json").write_text(json.dumps(written))
    theirs, d = SAE.load_from_disk(tmp_path), winnow.load_dictionary(tmp_path)
    assert (d.k, d.hook) == (3 if topk else None, HOOK)
    assert_agrees(d, theirs.encode, theirs.decode, some_rows(D))


@pytest.mark.parametrize(
    ("normalisation", "message"),
    [
        ("layer_norm", "scales each input by its own norm, which no weights can hold"),
        ("constant_norm_rescale", "scales each input by its own norm, which no weights can hold"),
        ("expected_average_only_in", "needs a scale that is not in the weights"),
        ("covariance_whitening", "needs a matrix that is not in the weights"),
    ],
)
def test_a_scaling_that_is_not_in_the_files_is_refused(normalisation: str, message: str, tmp_path: Path) -> None:
    training_sae("standard", normalize_activations=normalisation).save_inference_model(tmp_path)
    with pytest.raises(UserError, match=message):
        winnow.load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Transcoder", {"d_out": D, "apply_b_dec_to_input": False}),
        ("SkipTranscoder", {"d_out": D, "apply_b_dec_to_input": False}),
        ("TemporalSAE", {"n_heads": 1, "bottleneck_factor": 10}),
        ("MatchingPursuitSAE", {}),
        ("AbsTopKSAE", {}),
    ],
)
def test_an_architecture_that_is_no_such_dictionary_is_refused(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    config = getattr(sae_lens, f"{kind}Config")(d_in=D, d_sae=N, **options)
    getattr(sae_lens, kind)(config).save_model(tmp_path)
    with pytest.raises(UserError, match=r"cfg\.json: architecture '.*' is none of standard, topk"):
        winnow.load_dictionary(tmp_path)
