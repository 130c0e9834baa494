"""Read a dictionary in dictionary_learning's layout (saprmarks/dictionary_learning).

config.json    {"trainer": {dict_class, activation_dim, dict_size, k, lm_name, submodule_name, …}, "buffer": {…}}
ae.pt          a state dict, pickled; encoder.weight [n, d], decoder.weight [d, n], … by class

The pickle is never executed: torch reads only tensors and plain containers from it. The dictionary computes the same
as one from dictionary_learning's own `utils.load_dictionary`, which scales the decoder rows of an `AutoEncoder` to
norm 1.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from winnow.errors import UserError
from winnow.formats.contents import (
    Contents,
    Format,
    active,
    checked,
    count,
    fold_decoder_norm,
    in_float32,
    in_memory,
    read_json,
    section,
    subtract_b_dec,
)

CONFIG = "config.json"
WEIGHTS = "ae.pt"

Stored = Mapping[Any, Any]


def read(folder: Path) -> Contents:
    """Read a folder in this layout. Raises `UserError` naming what is missing, misshapen or unknown."""
    config_path, path = folder / CONFIG, folder / WEIGHTS
    config = read_json(config_path)
    trainer = section(config_path, config, "trainer")
    known = _CLASSES.get(str(trainer.get("dict_class")))
    if known is None:
        raise UserError(f"{config_path}: dict_class {trainer.get('dict_class')!r} is none of {', '.join(_CLASSES)}")
    if section(config_path, config, "buffer").get("io") == "in_and_out":
        raise UserError(f"{config_path}: a transcoder (buffer.io = 'in_and_out') is not a dictionary of one hook")
    architecture, build = known
    d_model, n_latents = (count(config_path, trainer, name) for name in ("activation_dim", "dict_size"))
    stored = _read_state(path)
    tensors = build(path, stored, d_model, n_latents)
    k = active(config_path, trainer, n_latents) if architecture == "topk" else None
    noted = stored.get("k", k)
    noted = noted.tolist() if in_memory(noted) else noted
    if k is not None and noted != k:
        raise UserError(f"{path}: k is {noted}, {CONFIG} says {k}")
    hook = trainer.get("submodule_name")
    metadata = {"model_name": trainer.get("lm_name"), "hook_name": hook if isinstance(hook, str) else None}
    return Contents(architecture, in_float32(tensors), k=k, metadata=metadata)


FORMAT = Format("dictionary_learning", CONFIG, WEIGHTS, read)


def _read_state(path: Path) -> Stored:
    """Load the tensors without executing the pickle."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the dictionary is incomplete") from None
    except pickle.UnpicklingError as error:
        # torch's own message recommends executing the pickle
        asked_for = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({asked_for[1]})" if asked_for else ""
        raise UserError(
            f"{path}: holds more than tensors{what}; a pickle can run any program, so it is not opened"
        ) from error
    except Exception as error:  # on a damaged file torch may raise anything
        reason = str(error).split(". ")[0].splitlines()[:1] or [type(error).__name__]
        raise UserError(f"{path}: cannot be read as PyTorch's format ({reason[0]})") from error
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: expected a state dict of tensors, found {type(state).__name__}")
    return state


def _take(path: Path, stored: Stored, named: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    """Check the tensors of `named` ({our name: (their name, shape)}) and return them by our names."""
    found = checked(path, stored, dict(named.values()), CONFIG)
    return {ours: found[theirs] for ours, (theirs, _) in named.items()}


def _linear(path: Path, stored: Stored, d: int, n: int, **others: tuple[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Take two `nn.Linear`, whose weights are [out, in], and the tensors of `others`."""
    tensors = _take(path, stored, {"W_enc": ("encoder.weight", (n, d)), "W_dec": ("decoder.weight", (d, n)), **others})
    return {**tensors, "W_enc": tensors["W_enc"].T, "W_dec": tensors["W_dec"].T}


def _matrices(path: Path, stored: Stored, d: int, n: int, **others: tuple[str, tuple[int, ...]]) -> dict[str, Tensor]:
    shapes = {"W_enc": (d, n), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    return _take(path, stored, {**{name: (name, shape) for name, shape in shapes.items()}, **others})


def _for_all(tensors: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """Repeat the single threshold for every latent; -1 means that training has not set it yet."""
    return {**tensors, "threshold": tensors["threshold"].expand(n)}


def _auto_encoder(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    tensors = _linear(path, stored, d, n, b_enc=("encoder.bias", (n,)), b_dec=("bias", (d,)))
    norm = torch.linalg.vector_norm(tensors["W_dec"].float(), dim=1)
    if not torch.allclose(norm, torch.ones(n)):
        fold_decoder_norm(tensors)
    return tensors


def _auto_encoder_new(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    tensors = _linear(path, stored, d, n, b_enc=("encoder.bias", (n,)), b_dec=("decoder.bias", (d,)))
    subtract_b_dec(tensors)
    return tensors


def _gated(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    biases = {"b_enc": ("gate_bias", (n,)), "b_mag": ("mag_bias", (n,)), "r_mag": ("r_mag", (n,))}
    return _linear(path, stored, d, n, b_dec=("decoder_bias", (d,)), **biases)


def _top_k(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    return _linear(path, stored, d, n, b_enc=("encoder.bias", (n,)), b_dec=("b_dec", (d,)))


def _batch_top_k(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    biases = {"b_enc": ("encoder.bias", (n,)), "b_dec": ("b_dec", (d,))}
    return _for_all(_linear(path, stored, d, n, **biases, threshold=("threshold", ())), n)


def _matryoshka(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    return _for_all(_matrices(path, stored, d, n, threshold=("threshold", ())), n)


def _jump_relu(path: Path, stored: Stored, d: int, n: int) -> dict[str, Tensor]:
    tensors = _matrices(path, stored, d, n, threshold=("threshold", (n,)))
    subtract_b_dec(tensors)
    return tensors


_CLASSES: dict[str, tuple[str, Callable[[Path, Stored, int, int], dict[str, Tensor]]]] = {
    "AutoEncoder": ("relu", _auto_encoder),
    "AutoEncoderNew": ("relu", _auto_encoder_new),
    "GatedAutoEncoder": ("gated", _gated),
    "AutoEncoderTopK": ("topk", _top_k),
    "BatchTopKSAE": ("batchtopk", _batch_top_k),
    "MatryoshkaBatchTopKSAE": ("matryoshka", _matryoshka),
    "JumpReluAutoEncoder": ("jumprelu", _jump_relu),
}
