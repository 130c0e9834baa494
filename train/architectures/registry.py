"""From settings to the architecture they name."""

import dataclasses
from typing import Any

from train.architectures.auxk import AuxK
from train.architectures.base import Architecture
from train.architectures.batchtopk import BatchTopK
from train.architectures.gated import Gated
from train.architectures.jumprelu import JumpRelu
from train.architectures.matryoshka import Matryoshka
from train.architectures.relu import Relu
from train.architectures.topk import TopK
from train.settings import AUTO_DTYPE, GAUSSIAN_ROWS, DictionarySettings
from winnow.shards.dtypes import TORCH

KINDS: dict[str, type[Architecture]] = {
    "relu": Relu,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
    "matryoshka": Matryoshka,
}
SPARSITY = ("k", "l1_coefficient", "l0_coefficient")  # the learners of a stack may differ in these
SHARED = ("bandwidth", "tied")


def architecture_of(*learners: DictionarySettings) -> Architecture:
    """Make the architecture that the settings name, for one dictionary or for the learners of a stack."""
    first = learners[0]
    options: dict[str, Any] = {name: getattr(first, name) for name in SHARED if getattr(first, name)}
    for name in SPARSITY:
        if getattr(first, name) is not None:
            options[name] = tuple(getattr(learner, name) for learner in learners)
    if first.auxk_coefficient:
        options["auxk"] = AuxK(coefficient=first.auxk_coefficient)
    return KINDS[first.architecture](**_products(first), **options)


def _products(settings: DictionarySettings) -> dict[str, Any]:
    assert settings.compute_dtype != AUTO_DTYPE, settings
    if settings.compute_dtype == "tf32":
        return {"tf32": True}
    return {"compute_dtype": TORCH[settings.compute_dtype]}


def kind_of(settings: DictionarySettings) -> tuple[Any, ...]:
    """Return what the learners of a stack have in common besides their shape."""
    named = tuple(getattr(settings, name) for name in ("architecture", "compute_dtype", "auxk_coefficient", *SHARED))
    return (*named, settings.b_dec == "none", settings.noise is None, settings.control == GAUSSIAN_ROWS)


def in_training_units(settings: DictionarySettings, d_model: int, scale: float) -> DictionarySettings:
    """Return the settings with the penalty's weight λ in `l1_coefficient`, whatever the reduction.

    Training minimises mean over rows of ‖x' − x̂'‖² + λ Σ_j f'_j on scaled activations x' = s·x (train/learner.py), and
    with `l1_reduction = "sum"` the setting `l1_coefficient` is λ. With `"mean"` it is the α of Sharkey et al. 2022,
    whose loss is, in the activations' own units, with c_j = f'_j / s,

        mean over rows and over the d dimensions of (x − x̂)²  +  α · mean over rows and over the n latents of |c|
            =  1/d · mean over rows of ‖x − x̂‖²  +  α/n · mean over rows of Σ_j c_j
            =  1/(s²·d) · (mean over rows of ‖x' − x̂'‖²  +  α·(d/n)·s · mean over rows of Σ_j f'_j)

    so λ = α·(d/n)·s; Adam's steps do not depend on the factor in front. The mean over n makes one α a weaker penalty in
    larger dictionaries: the best α rises with n, so compare λ across sizes.

    scale: s, by which activations of width `d_model` are multiplied.
    """
    if settings.l1_reduction == "sum" or settings.l1_coefficient is None:
        return settings
    weight = settings.l1_coefficient * d_model / settings.n_latents * scale
    return dataclasses.replace(settings, l1_coefficient=weight)
