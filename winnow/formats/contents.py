"""What a dictionary's folder says, whichever program wrote it, and the checks that every format needs.

Each format has a module beside this one (saelens.py, dictionary_learning.py, sparsify.py) whose `read` brings its
files to one form: latents are a function of (x - b_dec) @ W_enc + b_enc, with no setting left to remember. What
cannot be brought to it is refused by name.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from winnow.errors import UserError


class Contents(NamedTuple):
    """What a dictionary's folder says."""

    architecture: str  # relu, topk, batchtopk, jumprelu, gated, matryoshka, groupmax
    tensors: dict[str, Tensor]  # as `Dictionary` calls them, float32; of a gated one, b_enc is the gate's bias
    k: int | None = None  # topk: latents that may be active
    groups: int | None = None  # groupmax: groups of consecutive latents, in each of which one may be active
    metadata: Mapping[str, Any] = {}  # as SAELens calls it: model_name, hook_name, …


class Format(NamedTuple):
    """A program's layout on disk: a JSON file and a file of tensors in one folder."""

    program: str
    config: str  # file names
    weights: str
    read: Callable[[Path], Contents]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or say in one line what is in the way."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; is {path.parent} a finished dictionary?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a file, or say in one line what is in the way."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the dictionary is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as safetensors ({error})") from error


def section(path: Path, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give the object under a key of a configuration; where there is none, an empty one."""
    value = config.get(name)
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{path}: {name} should be an object, found {value!r}")
    return value or {}


def flag(path: Path, config: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """Give the boolean under a key of a configuration."""
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{path}: {name} should be true or false, found {value!r}")
    return default if value is None else value


def count(path: Path, config: Mapping[str, Any], name: str) -> int:
    """Give the positive integer under a key of a configuration."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{path}: {name} should be a positive integer, found {value!r}")
    return value


def active(path: Path, config: Mapping[str, Any], n_latents: int) -> int:
    """Give k, of which there cannot be more than latents."""
    k = count(path, config, "k")
    if k > n_latents:
        raise UserError(f"{path}: k = {k} is more than its {n_latents} latents")
    return k


def checked(
    path: Path, stored: Mapping[Any, Any], shapes: Mapping[str, tuple[int, ...]], config: str
) -> dict[str, Tensor]:
    """Give the tensors of `shapes` in float64.

    Raises `UserError` where one is missing, has another shape than follows from the file named `config`, or holds
    what is no finite number.
    """
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        tensor = stored.get(name)
        if not isinstance(tensor, Tensor):
            there = ", ".join(sorted(str(key) for key, value in stored.items() if isinstance(value, Tensor)))
            raise UserError(f"{path}: no tensor {name}; there are {there or 'none'}")
        if tuple(tensor.shape) != shape:
            raise UserError(f"{path}: {name} has shape {tuple(tensor.shape)}, {config} says {shape}")
        found[name] = tensor.double() if in_memory(tensor) and tensor.is_floating_point() else tensor
        if found[name].dtype != torch.float64 or not bool(found[name].isfinite().all()):
            raise UserError(f"{path}: {name} holds values that are not finite numbers")
    return found


def in_memory(value: Any) -> bool:
    """Tell a tensor that has its values from a sparse one, and from one that has a shape alone."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def fold_decoder_norm(tensors: dict[str, Tensor]) -> None:
    """Bring latents that are ranked, and read, times their decoder norm to a unit decoder."""
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


def in_float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round what has been computed in float64."""
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}
