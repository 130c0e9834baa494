"""The weight of a sparsity penalty in the units in which a dictionary is trained.

Training minimises mean over rows of ‖x' − x̂'‖² + λ Σ_j f'_j on scaled activations x' = s·x (train/scaling.py), and with
`l1_reduction = "sum"` the setting `l1_coefficient` is λ. With `"mean"` it is the α of Sharkey et al. 2022, whose loss
is, in the activations' own units, with c_j = f'_j / s,

    mean over rows and over the d dimensions of (x − x̂)²  +  α · mean over rows and over the n latents of |c|
        =  1/d · mean over rows of ‖x − x̂‖²  +  α/n · mean over rows of Σ_j c_j
        =  1/(s²·d) · (mean over rows of ‖x' − x̂'‖²  +  α·(d/n)·s · mean over rows of Σ_j f'_j)

so λ = α·(d/n)·s; the factor in front is none of Adam's business. The mean over n makes one α a penalty that shrinks as
dictionaries grow: the best α rises with n, and λ is what should be compared across sizes.
"""

from collections.abc import Mapping
from typing import Any


def in_training_units(settings: Mapping[str, Any], d_model: int, scale: float) -> dict[str, Any]:
    """Give the settings with the penalty's weight λ in `l1_coefficient`, whatever its reduction.

    scale: s, by which activations of width `d_model` are multiplied.
    """
    if settings.get("l1_reduction", "sum") == "sum":
        return dict(settings)
    weight = settings["l1_coefficient"] * d_model / settings["n_latents"] * scale
    return {**settings, "l1_coefficient": weight}
