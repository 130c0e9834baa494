"""SAELens' layout of a dictionary on disk, and what its settings mean.

cfg.json               architecture, d_in, d_sae, k, …; metadata: model_name, hook_name, …
sae_weights.safetensors    W_enc [d, n], W_dec [n, d], b_dec [d] and, by architecture, b_enc [n] (standard, topk,
                       jumprelu), threshold [n] (jumprelu), b_gate, b_mag, r_mag [n] (gated)

Reading brings every file to one form: latents are a function of (x - b_dec) @ W_enc + b_enc, with no setting
left to remember. A setting that cannot be brought to it is refused by name. Files from before SAELens 6 are
read too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from winnow.errors import UserError

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"

ARCHITECTURES = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
THEIR_NAME = {ours: theirs for theirs, ours in ARCHITECTURES.items()}
_BY_ARCHITECTURE = {
    "relu": ("b_enc",),
    "topk": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
    "gated": ("b_gate", "b_mag", "r_mag"),
}


class Contents(NamedTuple):
    """What a dictionary's folder says."""

    architecture: str  # relu, topk, jumprelu or gated
    tensors: dict[str, Tensor]  # float32; of a gated one, b_enc is the gate's bias
    k: int | None
    metadata: dict[str, Any]


def read(folder: Path) -> Contents:
    """Read a folder in SAELens' layout. Raises `UserError` naming what is missing, misshapen or unknown."""
    config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    config = _current_form(read_json(config_path))
    theirs = config.get("architecture")
    if theirs not in ARCHITECTURES:
        raise UserError(f"{config_path}: architecture {theirs!r} is none of {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[theirs]
    _refuse_unknown_scaling(config_path, config)
    d_model, n_latents = (_count(config_path, config, name) for name in ("d_in", "d_sae"))
    k = _count(config_path, config, "k") if architecture == "topk" else None
    if k is not None and k > n_latents:
        raise UserError(f"{config_path}: k = {k} is more than d_sae = {n_latents}")
    tensors = _read_weights(weights_path, architecture, d_model, n_latents)
    if config.get("rescale_acts_by_decoder_norm"):
        _fold_decoder_norm(tensors)
    if not config.get("apply_b_dec_to_input", True):
        _subtract_b_dec(tensors)
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    if architecture == "gated":
        tensors["b_enc"] = tensors.pop("b_gate")
    return Contents(architecture, tensors, k, config.get("metadata") or {})


def describe(
    architecture: str, d_model: int, n_latents: int, k: int | None, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Compose the content of cfg.json for a dictionary in the form that `read` returns."""
    config: dict[str, Any] = {
        "architecture": THEIR_NAME[architecture],
        "d_in": d_model,
        "d_sae": n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        # SAELens takes a file without this version for one of its format before 6
        "metadata": {"sae_lens_version": "6.54.0", "sae_lens_training_version": None, **metadata},
    }
    if k is not None:
        config |= {"k": k, "rescale_acts_by_decoder_norm": False}
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or say in one line what is in the way."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; is {path.parent} a finished dictionary?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _current_form(config: dict[str, Any]) -> dict[str, Any]:
    """Rename what SAELens before 6 called otherwise."""
    if "metadata" in config:
        return config
    old = {"architecture": "standard", **config}
    if old.get("activation_fn_str", old.get("activation_fn")) == "topk":
        old |= {"architecture": "topk", "k": (old.get("activation_fn_kwargs") or {}).get("k")}
    if isinstance(old.get("normalize_activations"), bool):
        old["normalize_activations"] = "expected_average_only_in" if old["normalize_activations"] else "none"
    kept = ("model_name", "hook_name", "context_size", "prepend_bos", "dataset_path")
    old["metadata"] = {name: old[name] for name in kept if name in old}
    if "hook_point" in old:
        old["metadata"]["hook_name"] = old["hook_point"]
    return old


def _refuse_unknown_scaling(path: Path, config: Mapping[str, Any]) -> None:
    normalisation = config.get("normalize_activations") or "none"
    if normalisation != "none":
        raise UserError(
            f"{path}: normalize_activations = {normalisation!r} needs a scale that is not in the weights; "
            "fold it in with SAELens, and save again"
        )
    if config.get("finetuning_scaling_factor"):
        raise UserError(f"{path}: finetuning_scaling_factor is set; fold it into the weights, and save again")


def _count(path: Path, config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{path}: {name} should be a positive integer, found {value!r}")
    return value


def _read_weights(path: Path, architecture: str, d: int, n: int) -> dict[str, Tensor]:
    """Load the tensors that the architecture needs, in float64, with their shapes checked."""
    try:
        stored = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the dictionary is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as safetensors ({error})") from error
    shapes = {"W_enc": (d, n), "W_dec": (n, d), "b_dec": (d,)} | dict.fromkeys(_BY_ARCHITECTURE[architecture], (n,))
    for name, shape in shapes.items():
        if name not in stored:
            raise UserError(f"{path}: no tensor {name}; there are {', '.join(sorted(stored)) or 'none'}")
        if tuple(stored[name].shape) != shape:
            raise UserError(f"{path}: {name} has shape {tuple(stored[name].shape)}, cfg.json says {shape}")
        if not stored[name].is_floating_point() or not bool(stored[name].isfinite().all()):
            raise UserError(f"{path}: {name} holds values that are not finite numbers")
    scaling = stored.get("scaling_factor")  # of SAELens before 6; it meant something only where it is not one
    if scaling is not None and not bool((scaling == 1).all()):
        raise UserError(f"{path}: scaling_factor is set; fold it into the weights, and save again")
    return {name: stored[name].double() for name in shapes}


def _fold_decoder_norm(tensors: dict[str, Tensor]) -> None:
    """Bring latents that are ranked, and read, times their decoder norm to a unit decoder."""
    norm = torch.linalg.vector_norm(tensors["W_dec"], dim=1)  # (n,)
    tensors["W_enc"] = tensors["W_enc"] * norm
    tensors["b_enc"] = tensors["b_enc"] * norm
    tensors["W_dec"] = tensors["W_dec"] / norm[:, None]


def _subtract_b_dec(tensors: dict[str, Tensor]) -> None:
    """Rewrite x @ W_enc + b as (x - b_dec) @ W_enc + b'."""
    shift = tensors["b_dec"] @ tensors["W_enc"]  # (n,)
    for name in ("b_enc", "b_gate"):
        if name in tensors:
            tensors[name] = tensors[name] + shift
    if "b_mag" in tensors:
        tensors["b_mag"] = tensors["b_mag"] + shift * tensors["r_mag"].exp()
