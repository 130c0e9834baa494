"""Read a dictionary in sparsify's layout (EleutherAI/sparsify).

cfg.json            activation (topk, groupmax), d_in, num_latents or expansion_factor, k, transcode, skip_connection
sae.safetensors     encoder.weight [n, d], encoder.bias [n], W_dec [n, d], b_dec [d]
"""

from pathlib import Path

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
    shown,
)

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"
ACTIVATIONS = ("topk", "groupmax")

REFUSED = {
    "transcode": "a transcoder is not a dictionary of one hook",
    "skip_connection": "it also passes its input around the latents",
    "signed": "its latents may be negative",  # sparsify before 1.0
}


def read(folder: Path) -> Contents:
    """Read a folder in sparsify's layout. Raises `UserError` naming what is missing, misshapen or unknown."""
    config_path, path = folder / CONFIG, folder / WEIGHTS
    config = read_json(config_path)
    for name, why in REFUSED.items():
        if flag(config_path, config, name):
            raise UserError(f"{config_path}: {name} = true is not supported: {why}")
    architecture = config.get("activation", "topk")
    if architecture not in ACTIVATIONS:
        raise UserError(f"{config_path}: activation {shown(architecture)} is none of {', '.join(ACTIVATIONS)}")
    d_model = count(config_path, config, "d_in")
    if config.get("num_latents"):
        n_latents = count(config_path, config, "num_latents")
    else:
        n_latents = d_model * count(config_path, config, "expansion_factor")
    k = active(config_path, config, n_latents)
    if architecture == "groupmax" and n_latents % k:
        raise UserError(f"{config_path}: {n_latents} latents cannot be split into k = {k} groups of one size")
    shapes = {
        "encoder.weight": (n_latents, d_model),
        "encoder.bias": (n_latents,),
        "W_dec": (n_latents, d_model),
        "b_dec": (d_model,),
    }
    found = read_safetensors(path)
    stored = checked(path, found, shapes, CONFIG)
    refuse_unknown(path, found, shapes, f"a {architecture} dictionary of sparsify")
    tensors = {
        "W_enc": stored["encoder.weight"].T,
        "b_enc": stored["encoder.bias"],
        "W_dec": stored["W_dec"],
        "b_dec": stored["b_dec"],
    }
    groups = architecture == "groupmax"
    return Contents(architecture, in_float32(path, tensors), k=None if groups else k, groups=k if groups else None)


FORMAT = Format("sparsify", CONFIG, WEIGHTS, read)
