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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from winnow.errors import UserError
from winnow.formats.contents import (
    HARMLESS,
    Contents,
    Format,
    active,
    checked,
    count,
    fold_decoder_norm,
    in_float32,
    in_memory,
    read_json,
    refuse_unknown,
    section,
    shown,
    subtract_b_dec,
)
from winnow.paths import refuse_special

CONFIG = "config.json"
WEIGHTS = "ae.pt"

Stored = Mapping[Any, Any]

# What these classes keep beside their weights, and why a dictionary computes the same without it.
_COUNT = {"k": "how many latents training kept in the mean; the threshold encodes"}
_BESIDE: dict[str, dict[str, str]] = {
    "AutoEncoderTopK": {
        "k": "compared with config.json",
        "threshold": "an estimate of the k-th largest latent, which encodes only where it is asked to",
    },
    "BatchTopKSAE": _COUNT,
    "MatryoshkaBatchTopKSAE": {**_COUNT, "group_sizes": "how training nested the latents"},
}


class _State(NamedTuple):
    """The tensors of a file, and of which class it is."""

    path: Path
    tensors: Stored
    name: str  # dict_class


def read(folder: Path) -> Contents:
    """Read a folder in this layout. Raises `UserError` naming what is missing, misshapen or unknown."""
    config_path, path = folder / CONFIG, folder / WEIGHTS
    config = read_json(config_path)
    trainer = section(config_path, config, "trainer")
    name = str(trainer.get("dict_class"))
    known = _CLASSES.get(name)
    if known is None:
        raise UserError(
            f"{config_path}: dict_class {shown(trainer.get('dict_class'))} is none of {', '.join(_CLASSES)}"
        )
    if section(config_path, config, "buffer").get("io") == "in_and_out":
        raise UserError(f"{config_path}: a transcoder (buffer.io = 'in_and_out') is not a dictionary of one hook")
    architecture, build = known
    d_model, n_latents = (count(config_path, trainer, name) for name in ("activation_dim", "dict_size"))
    stored = _read_state(path)
    tensors = build(_State(path, stored, name), d_model, n_latents)
    k = active(config_path, trainer, n_latents) if architecture == "topk" else None
    noted = stored.get("k", k)
    noted = noted.tolist() if in_memory(noted) else noted
    if k is not None and noted != k:
        raise UserError(f"{path}: k is {shown(noted)}, {CONFIG} says {k}")
    hook = trainer.get("submodule_name")
    metadata = {"model_name": trainer.get("lm_name"), "hook_name": hook if isinstance(hook, str) else None}
    return Contents(architecture, in_float32(path, tensors), k=k, metadata=metadata)


FORMAT = Format("dictionary_learning", CONFIG, WEIGHTS, read)


def _read_state(path: Path) -> Stored:
    """Load the tensors without executing the pickle."""
    refuse_special(path)
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


def _take(state: _State, named: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    """Check the tensors of `named` ({our name: (their name, shape)}) and return them by our names.

    Raises `UserError` where there are others.
    """
    shapes, beside = dict(named.values()), _BESIDE.get(state.name, {})
    found = checked(state.path, state.tensors, shapes, CONFIG)
    what = f"{state.name} of dictionary_learning"
    refuse_unknown(state.path, state.tensors, shapes, what, HARMLESS | beside)
    return {ours: found[theirs] for ours, (theirs, _) in named.items()}


def _linear(state: _State, d: int, n: int, **others: tuple[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Take two `nn.Linear`, whose weights are [out, in], and the tensors of `others`."""
    tensors = _take(state, {"W_enc": ("encoder.weight", (n, d)), "W_dec": ("decoder.weight", (d, n)), **others})
    return {**tensors, "W_enc": tensors["W_enc"].T, "W_dec": tensors["W_dec"].T}


def _matrices(state: _State, d: int, n: int, **others: tuple[str, tuple[int, ...]]) -> dict[str, Tensor]:
    shapes = {"W_enc": (d, n), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    return _take(state, {**{name: (name, shape) for name, shape in shapes.items()}, **others})


def _for_all(tensors: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """Repeat the single threshold for every latent; -1 means that training has not set it yet."""
    return {**tensors, "threshold": tensors["threshold"].expand(n)}


def _auto_encoder(state: _State, d: int, n: int) -> dict[str, Tensor]:
    tensors = _linear(state, d, n, b_enc=("encoder.bias", (n,)), b_dec=("bias", (d,)))
    norm = torch.linalg.vector_norm(tensors["W_dec"].float(), dim=1)
    if not torch.allclose(norm, torch.ones(n)):
        fold_decoder_norm(tensors)
    return tensors


def _auto_encoder_new(state: _State, d: int, n: int) -> dict[str, Tensor]:
    tensors = _linear(state, d, n, b_enc=("encoder.bias", (n,)), b_dec=("decoder.bias", (d,)))
    subtract_b_dec(tensors)
    return tensors


def _gated(state: _State, d: int, n: int) -> dict[str, Tensor]:
    biases = {"b_enc": ("gate_bias", (n,)), "b_mag": ("mag_bias", (n,)), "r_mag": ("r_mag", (n,))}
    return _linear(state, d, n, b_dec=("decoder_bias", (d,)), **biases)


def _top_k(state: _State, d: int, n: int) -> dict[str, Tensor]:
    return _linear(state, d, n, b_enc=("encoder.bias", (n,)), b_dec=("b_dec", (d,)))


def _batch_top_k(state: _State, d: int, n: int) -> dict[str, Tensor]:
    biases = {"b_enc": ("encoder.bias", (n,)), "b_dec": ("b_dec", (d,))}
    return _for_all(_linear(state, d, n, **biases, threshold=("threshold", ())), n)


def _matryoshka(state: _State, d: int, n: int) -> dict[str, Tensor]:
    return _for_all(_matrices(state, d, n, threshold=("threshold", ())), n)


def _jump_relu(state: _State, d: int, n: int) -> dict[str, Tensor]:
    tensors = _matrices(state, d, n, threshold=("threshold", (n,)))
    subtract_b_dec(tensors)
    return tensors


_CLASSES: dict[str, tuple[str, Callable[[_State, int, int], dict[str, Tensor]]]] = {
    "AutoEncoder": ("relu", _auto_encoder),
    "AutoEncoderNew": ("relu", _auto_encoder_new),
    "GatedAutoEncoder": ("gated", _gated),
    "AutoEncoderTopK": ("topk", _top_k),
    "BatchTopKSAE": ("batchtopk", _batch_top_k),
    "MatryoshkaBatchTopKSAE": ("matryoshka", _matryoshka),
    "JumpReluAutoEncoder": ("jumprelu", _jump_relu),
}
