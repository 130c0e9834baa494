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
from winnow.dtypes import TORCH

KINDS: dict[str, type[Architecture]] = {
    "relu": Relu,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
    "matryoshka": Matryoshka,
}
OWN = ("k", "l1_coefficient", "l0_coefficient", "bandwidth", "tied")


def architecture_of(settings: Mapping[str, Any]) -> Architecture:
    """Make the architecture that a dictionary's settings name."""
    options = {name: settings[name] for name in OWN if name in settings}
    if settings.get("auxk_coefficient"):
        options["auxk"] = AuxK(coefficient=settings["auxk_coefficient"])
    return KINDS[settings["architecture"]](compute_dtype=TORCH[settings.get("dtype", "float32")], **options)
