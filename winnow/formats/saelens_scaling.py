"""Fold into the weights what SAELens does to activations before its dictionary sees them.

While it trains, SAELens may scale activations to a mean norm of sqrt(d), or whiten them; a checkpoint keeps these
numbers beside the weights (activation_scaler.json, activation_whitening.safetensors), and the finished dictionary has
them folded in. Scaling each input by its own norm or standard deviation is in no weights, and is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from winnow.errors import UserError
from winnow.formats.contents import checked, fold_decoder_norm, read_json, read_safetensors

SCALER = "activation_scaler.json"
WHITENING = "activation_whitening.safetensors"

BY_INPUT = ("constant_norm_rescale", "layer_norm")


def fold_scaling(
    path: Path, config: Mapping[str, Any], tensors: dict[str, Tensor], by_norm: bool, centred: bool
) -> None:
    """Fold the scaling or whitening that `config`, read from `path`, asks for.

    by_norm: latents are ranked, and read, times their decoder norm; afterwards no more. centred: the encoder subtracts
    b_dec from its input.
    Raises `UserError` where that scaling depends on the input, or its numbers are not there.
    """
    normalisation = config.get("normalize_activations") or "none"
    if normalisation in BY_INPUT:
        raise UserError(
            f"{path}: normalize_activations = {normalisation!r} scales each input by its own norm, which no weights "
            "can hold; such a dictionary is not supported"
        )
    if normalisation == "expected_average_only_in":
        _fold_scale(_scale(path), tensors, by_norm)
    if by_norm:
        fold_decoder_norm(tensors)
    if normalisation == "covariance_whitening":
        _fold_whitening(path.with_name(WHITENING), tensors, centred)
    elif normalisation not in ("none", "expected_average_only_in"):
        raise UserError(f"{path}: normalize_activations = {normalisation!r} is not known")


def _scale(path: Path) -> float:
    """Read the factor that activations were multiplied by."""
    scaler = path.with_name(SCALER)
    if not scaler.exists():
        raise UserError(
            f"{path}: normalize_activations = 'expected_average_only_in' needs a scale that is not in the weights, and "
            f"there is no {SCALER} with it; fold it in with SAELens, and save again"
        )
    scale = read_json(scaler).get("scaling_factor")
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < float("inf"):
        raise UserError(f"{scaler}: scaling_factor should be a positive number, found {scale!r}")
    return scale


def _fold_scale(scale: float, tensors: dict[str, Tensor], by_norm: bool) -> None:
    """Take x for scale · x in the encoder, and x̂ / scale for x̂; latents stay as they are."""
    tensors["W_enc"] = tensors["W_enc"] * scale
    tensors["W_dec"] = tensors["W_dec"] / scale
    tensors["b_dec"] = tensors["b_dec"] / scale
    if by_norm and "threshold" in tensors:  # it is compared with latents times the decoder norm
        tensors["threshold"] = tensors["threshold"] / scale


def _fold_whitening(path: Path, tensors: dict[str, Tensor], centred: bool) -> None:
    """Take x for (x - mean) @ matrix in the encoder, and undo that behind the decoder.

    centred: the encoder subtracts b_dec, into which the mean goes.
    """
    if not path.exists():
        raise UserError(
            f"{path.parent}: normalize_activations = 'covariance_whitening' needs a matrix that is not in the weights, "
            f"and there is no {path.name} with it; fold it in with SAELens, and save again"
        )
    d = len(tensors["b_dec"])
    shapes = {"mean": (d,), "matrix": (d, d), "inverse_matrix": (d, d)}
    mean, matrix, inverse = checked(path, read_safetensors(path), shapes, "cfg.json").values()
    tensors["W_enc"] = matrix @ tensors["W_enc"]
    tensors["W_dec"] = tensors["W_dec"] @ inverse
    tensors["b_dec"] = tensors["b_dec"] @ inverse + mean
    if not centred:
        shift = mean @ tensors["W_enc"]
        tensors["b_enc"] = tensors["b_enc"] - shift
        if "b_mag" in tensors:
            tensors["b_mag"] = tensors["b_mag"] - shift * tensors["r_mag"].exp()
