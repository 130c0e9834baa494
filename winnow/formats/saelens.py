"""Read and write a dictionary in SAELens' layout.

cfg.json               architecture, d_in, d_sae, k, …; metadata: model_name, hook_name, …
sae_weights.safetensors    W_enc [d, n], W_dec [n, d], b_dec [d] and, by architecture, b_enc [n] (standard, topk,
                       jumprelu), threshold [n] (jumprelu), b_gate, b_mag, r_mag [n] (gated)

`read` also takes checkpoints of an unfinished training (there batchtopk and matryoshka_batchtopk have their own names
and a single topk_threshold) and files from before SAELens 6. It refuses, by name, a setting that cannot be folded into
the weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from winnow.errors import UserError
from winnow.formats.contents import (
    Contents,
    Format,
    active,
    checked,
    count,
    flag,
    in_float32,
    read_json,
    read_safetensors,
    refuse_unknown,
    section,
    shown,
    subtract_b_dec,
)
from winnow.formats.saelens_scaling import fold_scaling
from winnow.runtime.hashes import hash_file
from winnow.runtime.publish import publish_file

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"

ARCHITECTURES = {
    "standard": "relu",
    "topk": "topk",
    "batchtopk": "batchtopk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "matryoshka_batchtopk": "matryoshka",
}
THEIR_NAME = {ours: theirs for theirs, ours in ARCHITECTURES.items()}
_TRAINED_AS = {name: ARCHITECTURES[name] for name in ("batchtopk", "matryoshka_batchtopk")}  # and saved as jumprelu
_BY_ARCHITECTURE = {
    "relu": ("b_enc",),
    "topk": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
    "batchtopk": ("b_enc",),
    "matryoshka": ("b_enc",),
    "gated": ("b_gate", "b_mag", "r_mag"),
}
_RANKED = ("topk", "batchtopk", "matryoshka")  # architectures that have the setting rescale_acts_by_decoder_norm

# Older models moved into these organisations on the hub; TransformerLens 3 knows the models without them.
_MOVED_INTO = ("openai-community/", "distilbert/")


def read(folder: Path) -> Contents:
    """Read a folder in SAELens' layout. Raises `UserError` naming what is missing, misshapen or unknown."""
    config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    config = _current_form(config_path, read_json(config_path))
    theirs = config.get("architecture")
    if not isinstance(theirs, str) or theirs not in ARCHITECTURES:
        raise UserError(f"{config_path}: architecture {shown(theirs)} is none of {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[theirs]
    metadata = section(config_path, config, "metadata")
    d_model, n_latents = (count(config_path, config, name) for name in ("d_in", "d_sae"))
    k = active(config_path, config, n_latents) if architecture == "topk" else None
    finetuned = flag(config_path, config, "finetuning_scaling_factor")
    tensors = _read_weights(weights_path, theirs, architecture, d_model, n_latents, finetuned)
    by_norm = architecture in _RANKED and flag(config_path, config, "rescale_acts_by_decoder_norm")
    centred = flag(config_path, config, "apply_b_dec_to_input", default=True)
    fold_scaling(config_path, config, tensors, by_norm, centred)
    if not centred:
        subtract_b_dec(tensors)
    if architecture == "jumprelu":
        architecture = _TRAINED_AS.get(str(metadata.get("training_architecture")), architecture)
    return Contents(architecture, in_float32(weights_path, tensors), k=k, metadata=metadata)


FORMAT = Format("SAELens", CONFIG, WEIGHTS, read)


def describe(
    rule: str, architecture: str, d_model: int, n_latents: int, k: int | None, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Compose cfg.json for a dictionary in the form that `read` returns.

    rule: how latents are chosen: relu, topk, jumprelu or gated. architecture: how the dictionary was trained.
    """
    config: dict[str, Any] = {
        "architecture": THEIR_NAME[rule],
        "d_in": d_model,
        "d_sae": n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if str(metadata.get("hook_name")).endswith("hook_z") else "none",
        "metadata": {
            # without it, SAELens takes the file for one from before SAELens 6
            "sae_lens_version": "6.54.0",
            "sae_lens_training_version": None,
            "training_architecture": THEIR_NAME.get(architecture, THEIR_NAME[rule]),
            "model_class_name": "HookedTransformer",
            "model_from_pretrained_kwargs": {},
            "hook_head_index": None,
            **metadata,
        },
    }
    if metadata.get("model_name"):
        config["metadata"]["model_name"] = _name_there(metadata["model_name"])
    if k is not None:
        config |= {"k": k, "rescale_acts_by_decoder_norm": False}
    return config


def rule_of(k: int | None, threshold: Tensor | None, r_mag: Tensor | None) -> str:
    """Return how a dictionary with these parts chooses its latents: relu, topk, jumprelu or gated."""
    if threshold is not None:
        return "jumprelu"
    return "topk" if k is not None else "gated" if r_mag is not None else "relu"


def write_weights(folder: Path, parameters: Mapping[str, Tensor]) -> str:
    """Publish the weights (by our names) of a dictionary, and return the file's sha256.

    Raises `UserError` where float32 cannot hold them: a file that cannot be read is not written.
    """
    tensors = in_float32(folder, {name: value.detach().cpu() for name, value in parameters.items()})
    if len({value.data_ptr() for value in tensors.values()}) < len(tensors):
        # the transpose of a matrix with one row shares its memory, which the format refuses
        tensors = {name: value.clone() for name, value in tensors.items()}
    if "r_mag" in tensors:
        tensors["b_gate"] = tensors.pop("b_enc")
    with publish_file(folder / WEIGHTS) as partial:
        save_file(tensors, partial)
        return hash_file(partial)


def _name_there(model: str) -> str:
    """Return the name by which TransformerLens 3, and so SAELens, knows a model."""
    for organisation in _MOVED_INTO:
        model = model.removeprefix(organisation)
    return model


def _current_form(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Bring a configuration from before SAELens 6 to the current keys."""
    if "metadata" in config:
        return config
    old = {"architecture": "standard", **config}
    activation = old.get("activation_fn_str", old.get("activation_fn", "relu"))
    if activation == "topk":
        old |= {"architecture": "topk", "k": section(path, old, "activation_fn_kwargs").get("k")}
    elif activation != "relu":
        raise UserError(f"{path}: activation function {shown(activation)} is not supported; expected relu or topk")
    if isinstance(old.get("normalize_activations"), bool):
        old["normalize_activations"] = "expected_average_only_in" if old["normalize_activations"] else "none"
    kept = ("model_name", "hook_name", "context_size", "prepend_bos", "dataset_path")
    old["metadata"] = {name: old[name] for name in kept if name in old}
    if "hook_point" in old:
        old["metadata"]["hook_name"] = old["hook_point"]
    return old


def _read_weights(path: Path, theirs: str, architecture: str, d: int, n: int, finetuned: bool) -> dict[str, Tensor]:
    """Load the tensors of an architecture by our names, in float64, with shapes checked; theirs: its name in the file.

    finetuned: latents are multiplied by `scaling_factor` before they are decoded (SAELens before 6).
    """
    stored = read_safetensors(path)
    shapes = {"W_enc": (d, n), "W_dec": (n, d), "b_dec": (d,)} | dict.fromkeys(_BY_ARCHITECTURE[architecture], (n,))
    in_training = architecture in _TRAINED_AS.values()
    if in_training:
        shapes["topk_threshold"] = ()
    if architecture == "jumprelu" and "log_threshold" in stored and "threshold" not in stored:  # an older checkpoint
        logarithm = checked(path, stored, {"log_threshold": (n,)}, CONFIG)["log_threshold"]
        del stored["log_threshold"]
        stored["threshold"] = logarithm.exp()
    tensors = checked(path, stored, shapes, CONFIG)
    refuse_unknown(path, stored, {*shapes, "scaling_factor"}, f"a {theirs} dictionary of SAELens")
    if in_training:
        tensors["threshold"] = tensors.pop("topk_threshold").expand(n)
    if architecture == "gated":
        tensors["b_enc"] = tensors.pop("b_gate")
    if "scaling_factor" in stored:
        factor = checked(path, stored, {"scaling_factor": (n,)}, CONFIG)["scaling_factor"]
        if not finetuned and not bool((factor == 1).all()):
            raise UserError(f"{path}: has a scaling_factor, but {CONFIG} does not set finetuning_scaling_factor")
        tensors["W_dec"] = tensors["W_dec"] * factor[:, None]
    return tensors
