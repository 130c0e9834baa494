"""From settings to the architecture they name."""

from collections.abc import Mapping
from typing import Any

from train.architectures.auxk import AuxK
from train.architectures.base import Architecture
from train.architectures.batchtopk import BatchTopK
from train.architectures.gated import Gated
from train.architectures.jumprelu import JumpRelu
from train.architectures.matryoshka import Matryoshka
from train.architectures.relu import Relu
from train.architectures.topk import TopK
from winnow.shards.dtypes import TORCH

KINDS: dict[str, type[Architecture]] = {
    "relu": Relu,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
    "matryoshka": Matryoshka,
}
SPARSITY = ("k", "l1_coefficient", "l0_coefficient")  # in which learners of a stack may differ
SHARED = ("bandwidth", "tied")


def architecture_of(*learners: Mapping[str, Any]) -> Architecture:
    """Make the architecture that the settings of a dictionary name, or those of a stack's learners."""
    first = learners[0]
    options = {name: first[name] for name in SHARED if name in first}
    options |= {name: tuple(learner[name] for learner in learners) for name in SPARSITY if name in first}
    if first.get("auxk_coefficient"):
        options["auxk"] = AuxK(coefficient=first["auxk_coefficient"])
    return KINDS[first["architecture"]](compute_dtype=TORCH[first.get("compute_dtype", "float32")], **options)


def kind_of(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give what the learners of a stack have in common besides their shape."""
    named = tuple(settings.get(name) for name in ("architecture", "compute_dtype", "auxk_coefficient", *SHARED))
    return (*named, settings.get("b_dec") == "none")


def in_training_units(settings: Mapping[str, Any], d_model: int, scale: float) -> dict[str, Any]:
    """Give the settings with the penalty's weight λ in `l1_coefficient`, whatever its reduction.

    Training minimises mean over rows of ‖x' − x̂'‖² + λ Σ_j f'_j on scaled activations x' = s·x (train/learner.py), and
    with `l1_reduction = "sum"` the setting `l1_coefficient` is λ. With `"mean"` it is the α of Sharkey et al. 2022,
    whose loss is, in the activations' own units, with c_j = f'_j / s,

        mean over rows and over the d dimensions of (x − x̂)²  +  α · mean over rows and over the n latents of |c|
            =  1/d · mean over rows of ‖x − x̂‖²  +  α/n · mean over rows of Σ_j c_j
            =  1/(s²·d) · (mean over rows of ‖x' − x̂'‖²  +  α·(d/n)·s · mean over rows of Σ_j f'_j)

    so λ = α·(d/n)·s; the factor in front is none of Adam's business. The mean over n makes one α a penalty that shrinks
    as dictionaries grow: the best α rises with n, and λ is what should be compared across sizes.

    scale: s, by which activations of width `d_model` are multiplied.
    """
    if settings.get("l1_reduction", "sum") == "sum":
        return dict(settings)
    weight = settings["l1_coefficient"] * d_model / settings["n_latents"] * scale
    return {**settings, "l1_coefficient": weight}
