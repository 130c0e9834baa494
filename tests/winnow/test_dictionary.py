import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import winnow
from tests.untyped import untyped
from winnow.dictionary import Dictionary, load_dictionaries, load_dictionary, save_dictionary
from winnow.errors import UserError
from winnow.runtime.hashes import hash_file

D, N = 6, 10


def tensors(*names: str, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D, N), "W_dec": (N, D), "b_dec": (D,)}
    return {name: torch.randn(shapes.get(name, (N,)), generator=generator) for name in (*shapes, *names)}


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(9))


def write_saelens(folder: Path, weights: dict[str, Tensor], **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "sae_weights.safetensors")
    written = {"architecture": "standard", "d_in": D, "d_sae": N, "metadata": {"hook_name": "h"}, **config}
    (folder / "cfg.json").write_text(json.dumps(written))
    return folder


def dictionary(**options: Any) -> Dictionary:
    return Dictionary(**tensors("b_enc"), hook="blocks.0.hook_resid_post", **options)


def test_relu_encodes_what_its_formula_says() -> None:
    d, x = dictionary(), rows(3, 4)
    torch.testing.assert_close(d.encode(x), torch.relu((x - d.b_dec) @ d.W_enc + d.b_enc), rtol=0, atol=0)
    torch.testing.assert_close(d(x), d.encode(x) @ d.W_dec + d.b_dec, rtol=0, atol=0)


def test_topk_keeps_the_k_largest() -> None:
    d, x = dictionary(architecture="topk", k=3), rows(50)
    f, relu = d.encode(x), dictionary().encode(x)
    for i in range(50):
        largest = relu[i].sort(descending=True).indices[:3]
        expected = torch.zeros(N)
        expected[largest] = relu[i, largest]
        torch.testing.assert_close(f[i], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "relu"},
        {"architecture": "topk", "k": 3},
        {"architecture": "jumprelu", "threshold": torch.linspace(0, 1, N)},
        {"architecture": "gated", "r_mag": torch.linspace(-1, 1, N), "b_mag": torch.linspace(-1, 1, N)},
    ],
    ids=lambda options: options["architecture"],
)
def test_saved_dictionary_comes_back(options: dict[str, Any], tmp_path: Path) -> None:
    d = dictionary(**options)
    record = {"settings": {"architecture": options["architecture"]}, "rows": 5}
    save_dictionary(d, tmp_path / "d", {"model_name": "gpt2"}, record)
    back = load_dictionary(tmp_path / "d")
    x = rows(20)
    assert torch.equal(back.encode(x), d.encode(x))
    assert torch.equal(back(x), d(x))
    assert (back.architecture, back.hook, back.k, back.n_latents, back.d_model) == (
        options["architecture"],
        "blocks.0.hook_resid_post",
        options.get("k"),
        N,
        D,
    )
    assert back.provenance == {**record, "weights_sha256": hash_file(tmp_path / "d" / "sae_weights.safetensors")}
    assert back.path == tmp_path / "d"


def test_batchtopk_is_a_jumprelu_on_disk_and_keeps_its_name(tmp_path: Path) -> None:
    d = dictionary(architecture="batchtopk", threshold=torch.full((N,), 0.5))
    save_dictionary(d, tmp_path, {}, {"settings": {"architecture": "batchtopk"}})
    assert json.loads((tmp_path / "cfg.json").read_text())["architecture"] == "jumprelu"
    assert load_dictionary(tmp_path).architecture == "batchtopk"


def test_cfg_json_holds_what_saelens_expects(tmp_path: Path) -> None:
    save_dictionary(
        dictionary(architecture="topk", k=3),
        tmp_path,
        {"model_name": "openai-community/gpt2", "context_size": 128},  # whom SAELens knows without the organisation
        {"rows": 1},
    )
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert config.pop("metadata") == {
        "sae_lens_version": "6.54.0",
        "sae_lens_training_version": None,
        "training_architecture": "topk",
        "model_class_name": "HookedTransformer",
        "model_from_pretrained_kwargs": {},
        "hook_head_index": None,
        "hook_name": "blocks.0.hook_resid_post",
        "model_name": "gpt2",
        "context_size": 128,
    }
    assert config == {
        "architecture": "topk",
        "d_in": D,
        "d_sae": N,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "k": 3,
        "rescale_acts_by_decoder_norm": False,
    }


def test_input_without_b_dec_is_the_same_function(tmp_path: Path) -> None:
    w, x = tensors("b_enc"), rows(20)
    d = load_dictionary(write_saelens(tmp_path, w, apply_b_dec_to_input=False))
    torch.testing.assert_close(d.encode(x), torch.relu(x @ w["W_enc"] + w["b_enc"]), rtol=1e-5, atol=1e-5)


def test_gated_input_without_b_dec_is_the_same_function(tmp_path: Path) -> None:
    w, x = tensors("b_gate", "b_mag", "r_mag"), rows(20)
    d = load_dictionary(write_saelens(tmp_path, w, architecture="gated", apply_b_dec_to_input=False))
    gate = x @ w["W_enc"] + w["b_gate"] > 0
    expected = gate * torch.relu(x @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"])
    torch.testing.assert_close(d.encode(x), expected, rtol=1e-5, atol=1e-5)


def test_rank_by_decoder_norm_is_the_same_function(tmp_path: Path) -> None:
    w, x = tensors("b_enc"), rows(50)
    d = load_dictionary(write_saelens(tmp_path, w, architecture="topk", k=3, rescale_acts_by_decoder_norm=True))
    norm = w["W_dec"].norm(dim=1)
    pre = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norm
    kept = torch.zeros_like(pre).scatter(1, pre.topk(3).indices, 1) * pre.relu()
    torch.testing.assert_close(d.encode(x), kept, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(d(x), (kept / norm) @ w["W_dec"] + w["b_dec"], rtol=1e-5, atol=1e-5)


def test_file_from_before_saelens_6_is_read(tmp_path: Path) -> None:
    old = {"d_in": D, "d_sae": N, "hook_point": "blocks.1.hook_resid_pre", "normalize_activations": False}
    save_file(tensors("b_enc") | {"scaling_factor": torch.ones(N)}, tmp_path / "sae_weights.safetensors")
    config = {**old, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    d = load_dictionary(tmp_path)
    assert (d.architecture, d.k, d.hook) == ("topk", 4, "blocks.1.hook_resid_pre")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal' is none of standard, topk, batchtopk, jumprelu"),
        ({"architecture": "topk"}, "k should be a positive integer, found None"),
        ({"architecture": "topk", "k": 11}, "k = 11 is more than its 10 latents"),
        ({"d_sae": 12}, "W_enc has shape (6, 10), cfg.json says (6, 12)"),
        ({"d_in": "six"}, "d_in should be a positive integer, found 'six'"),
        ({"architecture": "jumprelu"}, "no tensor threshold; there are W_dec, W_enc, b_dec, b_enc"),
        ({"metadata": ["gpt2"]}, "metadata should be an object, found ['gpt2']"),
    ],
    ids=str,
)
def test_malformed_dictionary_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_saelens(tmp_path, tensors("b_enc"), **change)
    with pytest.raises(UserError, match=re.escape(message)):
        load_dictionary(tmp_path)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    write_saelens(tmp_path, tensors("b_enc"))
    weights = tmp_path / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(UserError, match=r"sae_weights\.safetensors: cannot be read as safetensors"):
        load_dictionary(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match=r"sae_weights\.safetensors: no such file; the dictionary is incomplete"):
        load_dictionary(tmp_path)
    (tmp_path / "cfg.json").unlink()
    weights.touch()
    with pytest.raises(UserError, match=r"cfg\.json: no such file; is .* a finished dictionary\?"):
        load_dictionary(tmp_path)
    (tmp_path / "cfg.json").write_text("[1]")
    with pytest.raises(UserError, match=r"cfg\.json: expected a JSON object, found list"):
        load_dictionary(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    w = tensors("b_enc")
    w["b_enc"][3] = torch.nan
    with pytest.raises(UserError, match="b_enc holds values that are not finite numbers"):
        load_dictionary(write_saelens(tmp_path, w))


def test_an_address_on_the_hub_that_is_none_says_what_is_expected() -> None:
    with pytest.raises(UserError, match=r"hf:owner: expected hf:OWNER/NAME/FOLDER, or hf:OWNER/NAME/FOLDER@REVISION"):
        load_dictionary("hf:owner")


def test_every_finished_dictionary_of_a_run_is_found_in_order(tmp_path: Path) -> None:
    for name, options in {
        "topk-10-k10-seed0": {"architecture": "topk", "k": 10},
        "topk-10-k2-seed0": {"architecture": "topk", "k": 2},
        "relu-10-l1_10-seed0": {},
        "relu-10-l1_2-seed0": {},
    }.items():
        d = dictionary(**options)
        save_dictionary(d, tmp_path / "dictionaries" / d.hook / name, {}, {})
    (tmp_path / "dictionaries" / "blocks.0.hook_resid_post" / "unfinished").mkdir()
    names = [d.path.name for d in winnow.load_dictionaries(tmp_path) if d.path]
    assert names == ["relu-10-l1_2-seed0", "relu-10-l1_10-seed0", "topk-10-k2-seed0", "topk-10-k10-seed0"]
    assert len(load_dictionaries(tmp_path, hook="blocks.0.hook_resid_post")) == 4
    with pytest.raises(UserError, match=r"at hook blocks\.0\.hook_resid_pre; did you mean blocks\.0\.hook_resid_post"):
        load_dictionaries(tmp_path, hook="blocks.0.hook_resid_pre")
    with pytest.raises(UserError, match="no such folder; give the folder of a run"):
        load_dictionaries(tmp_path / "none")


def test_repr_says_what_it_is() -> None:
    assert repr(dictionary(architecture="topk", k=3)) == (
        "Dictionary(topk, d_model=6, n_latents=10, k=3, hook='blocks.0.hook_resid_post')"
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"architecture": "topk", "k": 3}, {"threshold": torch.linspace(0, 1, N)}, {"groups": 5}],
    ids=lambda options: ", ".join(options),
)
def test_rows_of_another_width_are_refused_where_torch_would_broadcast(options: dict[str, Any]) -> None:
    d = dictionary(**options)
    for x in (rows(4)[:, :1], rows(4)[:, :5], torch.ones(D + 1)):
        with pytest.raises(
            UserError, match=rf"^Dictionary: encode: expected \[\.\.\., 6\], found {re.escape(str(list(x.shape)))}$"
        ):
            d.encode(x)
        with pytest.raises(UserError, match="encode: expected"):
            d(x)
        with pytest.raises(UserError, match=r"^Dictionary: decode: expected \[\.\.\., 10\], found"):
            d.decode(x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numpy_arrays_and_other_dtypes_encode_as_tensors_do(dtype: str) -> None:
    d, x = dictionary(architecture="topk", k=3), rows(3, 4).to(getattr(torch, dtype))
    expected = d.encode(x.float())
    for given in (x, x.numpy()):
        assert torch.equal(d.encode(given), expected)
        assert torch.equal(d(given), d(x.float()))
    assert torch.equal(d.decode(expected.numpy()), d.decode(expected))
    whole = d.double().encode(x)
    assert whole.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"b_enc": torch.ones(N - 1)}, r"found W_enc float32 \[6, 10\], b_enc float32 \[9\]"),
        ({"W_dec": torch.ones(D, N)}, r"W_dec Float \[n_latents, d_model\].* W_dec float32 \[6, 10\]"),
        ({"b_dec": torch.ones(1)}, r"b_dec float32 \[1\]"),
        ({"W_enc": torch.ones(D * N)}, r"found W_enc float32 \[60\]"),
        ({"threshold": torch.ones(1)}, r"threshold float32 \[1\]"),
        ({"W_enc": torch.ones(D, N, dtype=torch.int64)}, r"found W_enc int64 \[6, 10\]"),
        ({"W_enc": np.ones((D, N), np.float32)}, r"found W_enc numpy's float32 \[6, 10\]"),
        ({"W_enc": None}, "found b_enc"),
        ({"k": 0}, "k: expected a positive integer, found 0"),
        ({"groups": 3}, "expected groups that divide 10 latents, found 3"),
        ({"k": 2, "threshold": torch.ones(N)}, "expected one of k, groups, threshold and r_mag, found k and threshold"),
        ({"r_mag": torch.ones(N)}, "expected r_mag and b_mag together, found r_mag alone"),
        ({"b_mag": torch.ones(N)}, "expected r_mag and b_mag together, found b_mag alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_do_not_fit_each_other_make_no_dictionary(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^Dictionary: .*{said}") as refused:
        Dictionary(**{**tensors("b_enc"), **change})
    assert "\n" not in str(refused.value)


def test_more_latents_than_there_are_cannot_be_kept() -> None:
    with pytest.raises(UserError, match="k = 11 is more than its 10 latents"):
        dictionary(architecture="topk", k=11).encode(rows(2))


def test_untyped_calls_are_refused_in_one_line(tmp_path: Path) -> None:
    """As users call, without the tests' own checks of types."""
    (plain,) = untyped("winnow.dictionary")
    d = plain.Dictionary(**tensors("b_enc"))
    other = plain.Dictionary(**tensors("b_enc"), k=3)
    folder = tmp_path / "dictionaries"
    save_dictionary(dictionary(), folder / "h" / "d", {}, {})
    whole, floats, encode = np.ones(D, np.int64), "floating-point numbers", "Dictionary: encode: expected"
    calls = {
        f"{encode} {floats}, found int64": lambda: d.encode(torch.from_numpy(whole)),
        f"{encode} {floats}, found numpy's int64": lambda: d.encode(whole),
        f"{encode} a tensor or a numpy array of {floats}, found list": lambda: d.encode([1.0] * D),
        f"{encode} [..., 6], found []": lambda: d.encode(torch.ones(())),
        f"Dictionary: decode: expected {floats}, found bool": lambda: other.decode(torch.ones(N) > 0),
        "load_dictionary: expected a path, found NoneType": lambda: plain.load_dictionary(None),
        "load_dictionary: expected a path, found list": lambda: plain.load_dictionary(["a"]),
        "load_dictionaries: expected a path, found int": lambda: plain.load_dictionaries(3),
        f"{folder}: expected the name of a hook, found int": lambda: plain.load_dictionaries(tmp_path, hook=3),
        f"{folder}: expected a Dictionary to save, found str": lambda: plain.save_dictionary("d", folder, {}, {}),
        "Dictionary: k: expected a positive integer, found 2.5": lambda: plain.Dictionary(**tensors("b_enc"), k=2.5),
    }
    for said, call in calls.items():
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            call()


def test_a_dictionary_of_one_dimension_is_saved(tmp_path: Path) -> None:
    W = torch.ones(1, 1)
    made = Dictionary(W_enc=W.T, b_enc=torch.zeros(1), W_dec=W, b_dec=torch.zeros(1), architecture="relu", hook="h")
    save_dictionary(made, tmp_path, {}, {})  # both views of one tensor, which safetensors refuses
    assert torch.equal(winnow.load_dictionary(tmp_path).W_enc, W)


def test_a_dictionary_opens_on_the_device_that_is_named(tmp_path: Path) -> None:
    save_dictionary(dictionary(architecture="topk", k=3), tmp_path / "d", {}, {})
    for device in ("cpu", torch.device("cpu")):
        assert load_dictionary(tmp_path / "d", device=device).W_dec.device.type == "cpu"
    for wrong in ("cuda:99", "gpu", "meta"):
        with pytest.raises(UserError, match=r"load_dictionary: device: expected a device of this machine, such as cpu"):
            load_dictionary(tmp_path / "d", device=wrong)
    with pytest.raises(UserError, match=r"load_dictionaries: device: expected a device of this machine"):
        load_dictionaries(tmp_path, device="cuda:99")
    if torch.cuda.is_available():
        found = load_dictionary(tmp_path / "d", device="cuda")
        assert found.W_dec.is_cuda
        x = rows(20)
        torch.testing.assert_close(found(x.cuda()).cpu(), load_dictionary(tmp_path / "d")(x))
