"""The common form into which every format is read, and the checks that the formats share.

Each format has a module beside this one (saelens.py, dictionary_learning.py, sparsify.py). Its `read` converts the
files to one form: latents are a function of (x - b_dec) @ W_enc + b_enc, and every scaling is folded into the
weights. A dictionary that does not fit this form is refused, naming the setting. So is one with a tensor that its
format does not know: what the tensor does would be missing. `HARMLESS` lists the exceptions.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from winnow import fields
from winnow.errors import UserError
from winnow.paths import refuse_special

LARGEST = torch.finfo(torch.float32).max
SHOWN = 8  # names of tensors in a message
MOST = 10**9  # dimensions or latents

# Tensors that training code leaves beside the weights, in any format, and why a dictionary computes the same without.
HARMLESS: dict[str, str] = {
    **dict.fromkeys(
        ("n_forward_passes_since_fired", "num_tokens_since_fired", "num_batches_not_active", "steps_since_active"),
        "counts since when each latent is silent, by which training revives latents",
    ),
    **dict.fromkeys(
        ("act_freq_scores", "n_frac_active_tokens", "feature_sparsity", "log_feature_sparsity", "sparsity"),
        "tells how often each latent fired",
    ),
    **dict.fromkeys(
        ("step", "steps", "n_training_steps", "n_training_samples", "num_batches_tracked"),
        "counts the steps of the optimizer",
    ),
}


class Contents(NamedTuple):
    """A dictionary in the common form."""

    architecture: str  # relu, topk, batchtopk, jumprelu, gated, matryoshka, groupmax
    tensors: dict[str, Tensor]  # by their names in `Dictionary`, float32; gated: b_enc is the gate's bias
    k: int | None = None  # topk: number of latents that may be active
    groups: int | None = None  # groupmax: number of groups of consecutive latents, one latent active in each
    metadata: Mapping[str, Any] = {}  # by SAELens' names: model_name, hook_name, …


class Format(NamedTuple):
    """A program's layout on disk: a JSON file and a file of tensors in one folder."""

    program: str
    config: str  # file names
    weights: str
    read: Callable[[Path], Contents]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `UserError` if that is not what the file holds."""
    try:
        value = fields.read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {path.parent} a finished dictionary?") from None
    except UserError as error:
        raise UserError(f"{path}: cannot be read as JSON ({str(error).removeprefix(f'{path}: ')})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a file. Raises `UserError` if it is missing or damaged."""
    refuse_special(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the dictionary is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as safetensors ({error})") from error


def shown(value: Any) -> str:
    """Give a value of a file for a message, cut to one line of fair length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def section(path: Path, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object under a key of a configuration; an empty one if the key is missing."""
    value = config.get(name)
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{path}: {name} should be an object, found {shown(value)}")
    return value or {}


def flag(path: Path, config: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """Return the boolean under a key of a configuration."""
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{path}: {name} should be true or false, found {shown(value)}")
    return default if value is None else value


def count(path: Path, config: Mapping[str, Any], name: str) -> int:
    """Return the positive integer under a key of a configuration."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{path}: {name} should be a positive integer, found {shown(value)}")
    if value > MOST:
        raise UserError(f"{path}: {name} should be at most {MOST:,}, found {shown(value)}")
    return value


def active(path: Path, config: Mapping[str, Any], n_latents: int) -> int:
    """Return k, checked to be at most `n_latents`."""
    k = count(path, config, "k")
    if k > n_latents:
        raise UserError(f"{path}: k = {k} is more than its {n_latents} latents")
    return k


def checked(
    path: Path, stored: Mapping[Any, Any], shapes: Mapping[str, tuple[int, ...]], config: str
) -> dict[str, Tensor]:
    """Return the tensors named in `shapes` as float64.

    Raises `UserError` if one is missing, has another shape than the file named `config` implies, or holds a value
    that is not a finite number.
    """
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        tensor = stored.get(name)
        if not isinstance(tensor, Tensor):
            there = ", ".join(sorted(str(key) for key, value in stored.items() if isinstance(value, Tensor)))
            raise UserError(f"{path}: no tensor {name}; there are {there or 'none'}")
        if tuple(tensor.shape) != shape:
            raise UserError(f"{path}: {name} has shape {tuple(tensor.shape)}, {config} says {shape}")
        if not in_memory(tensor) or not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.") if in_memory(tensor) else "no dense tensor with its data"
            raise UserError(f"{path}: {name}: expected floating-point numbers, found {kind}")
        found[name] = tensor.double()
        if not bool(found[name].isfinite().all()):
            raise UserError(f"{path}: {name} holds values that are not finite numbers ({_first_bad(found[name])})")
    return found


def refuse_unknown(
    path: Path, stored: Iterable[Any], known: Iterable[str], what: str, harmless: Mapping[str, str] = HARMLESS
) -> None:
    """Raise `UserError` naming the tensors that a dictionary has beside those its format knows.

    what: the kind of dictionary, for the message. harmless: name -> why a dictionary computes the same without it.
    """
    known = set(known)
    unknown = sorted(str(name) for name in stored if name not in known and name not in harmless)
    if unknown:
        raise UserError(
            f"{path}: {', '.join(unknown[:SHOWN])}{' …' if len(unknown) > SHOWN else ''}: expected no such tensor in "
            f"{what}, which has {', '.join(sorted(known))}; without it something else would be computed, so the "
            "dictionary is not opened"
        )


def _first_bad(tensor: Tensor, before: Tensor | None = None) -> str:
    """Say which value is the first that is not finite, as it was `before`, and where it stands."""
    place = tuple((~tensor.isfinite()).nonzero()[0].tolist())
    return f"{float((tensor if before is None else before)[place]):.3g} at {list(place)}"


def in_memory(value: Any) -> bool:
    """Tell whether a value is a dense tensor with its data, not sparse and not on the meta device."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def fold_decoder_norm(tensors: dict[str, Tensor]) -> None:
    """Multiply the encoder by each latent's decoder norm, and scale the decoder's rows to norm 1."""
    norm = torch.linalg.vector_norm(tensors["W_dec"], dim=1).clamp(min=1e-8)  # (n,)
    tensors["W_enc"] = tensors["W_enc"] * norm
    tensors["b_enc"] = tensors["b_enc"] * norm
    tensors["W_dec"] = tensors["W_dec"] / norm[:, None]


def subtract_b_dec(tensors: dict[str, Tensor]) -> None:
    """Rewrite x @ W_enc + b as (x - b_dec) @ W_enc + b'."""
    shift = tensors["b_dec"] @ tensors["W_enc"]  # (n,)
    tensors["b_enc"] = tensors["b_enc"] + shift
    if "b_mag" in tensors:
        tensors["b_mag"] = tensors["b_mag"] + shift * tensors["r_mag"].exp()


def in_float32(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round the tensors of a dictionary at `path` to float32. Raises `UserError` where one is too large for it."""
    rounded = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    used = dict(rounded)
    if "r_mag" in rounded:
        used["W_enc"] = rounded["W_enc"] * rounded["r_mag"].exp()  # what a gated dictionary multiplies by
    for name, tensor in used.items():
        if not bool(tensor.isfinite().all()):
            factor = " times exp(r_mag)" if name == "W_enc" and "r_mag" in rounded else ""
            raise UserError(
                f"{path}: {name}{factor}: expected at most {LARGEST:.3g}, the largest float32, "
                f"found {_first_bad(tensor, tensors[name])}; scale the dictionary, and its activations, down"
            )
    return rounded
