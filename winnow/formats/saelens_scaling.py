"""Fold SAELens' scaling or whitening of activations into the weights.

During training SAELens may scale activations to a mean norm of sqrt(d), or whiten them. A checkpoint keeps these
numbers beside the weights (activation_scaler.json, activation_whitening.safetensors); a finished dictionary has them
folded in. A dictionary that scales each input by its own norm or standard deviation is refused: no weights can hold it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from winnow.errors import UserError
from winnow.formats.contents import checked, fold_decoder_norm, read_json, read_safetensors, refuse_unknown, shown

SCALER = "activation_scaler.json"
WHITENING = "activation_whitening.safetensors"

BY_INPUT = ("constant_norm_rescale", "layer_norm")


def fold_scaling(
    path: Path, config: Mapping[str, Any], tensors: dict[str, Tensor], by_norm: bool, centred: bool
) -> None:
    """Fold the scaling or whitening that `config`, read from `path`, asks for.

    by_norm: the dictionary multiplies latents by their decoder norm; that is folded in too. centred: the encoder
    subtracts b_dec from its input.
    Raises `UserError` if the scaling depends on the input, or its numbers are missing.
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
        raise UserError(f"{path}: normalize_activations = {shown(normalisation)} is not known")


def _scale(path: Path) -> float:
    """Read the factor by which activations were multiplied."""
    scaler = path.with_name(SCALER)
    if not scaler.exists():
        raise UserError(
            f"{path}: normalize_activations = 'expected_average_only_in' needs a scale that is not in the weights, and "
            f"there is no {SCALER} beside it; fold it in with SAELens, and save again"
        )
    scale = read_json(scaler).get("scaling_factor")
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < float("inf"):
        raise UserError(f"{scaler}: scaling_factor should be a positive number, found {shown(scale)}")
    return scale


def _fold_scale(scale: float, tensors: dict[str, Tensor], by_norm: bool) -> None:
    """Make the encoder take x, not scale · x, and the decoder return x̂ / scale, not x̂; latents are unchanged."""
    tensors["W_enc"] = tensors["W_enc"] * scale
    tensors["W_dec"] = tensors["W_dec"] / scale
    tensors["b_dec"] = tensors["b_dec"] / scale
    if by_norm and "threshold" in tensors:  # latents are multiplied by their decoder norm before the comparison
        tensors["threshold"] = tensors["threshold"] / scale


def _fold_whitening(path: Path, tensors: dict[str, Tensor], centred: bool) -> None:
    """Make the encoder take x instead of (x - mean) @ matrix, and the decoder return the inverse.

    centred: the encoder subtracts b_dec; the mean is then folded into b_dec.
    """
    if not path.exists():
        raise UserError(
            f"{path.parent}: normalize_activations = 'covariance_whitening' needs a matrix that is not in the weights, "
            f"and there is no {path.name} beside it; fold it in with SAELens, and save again"
        )
    d = len(tensors["b_dec"])
    shapes = {"mean": (d,), "matrix": (d, d), "inverse_matrix": (d, d)}
    stored = read_safetensors(path)
    mean, matrix, inverse = checked(path, stored, shapes, "cfg.json").values()
    refuse_unknown(path, stored, shapes, "a whitening of SAELens", harmless={})
    tensors["W_enc"] = matrix @ tensors["W_enc"]
    tensors["W_dec"] = tensors["W_dec"] @ inverse
    tensors["b_dec"] = tensors["b_dec"] @ inverse + mean
    if not centred:
        shift = mean @ tensors["W_enc"]
        tensors["b_enc"] = tensors["b_enc"] - shift
        if "b_mag" in tensors:
            tensors["b_mag"] = tensors["b_mag"] - shift * tensors["r_mag"].exp()
