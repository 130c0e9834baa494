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
SPARSITY = ("k", "l1_coefficient", "l0_coefficient")  # in which members of a stack may differ
SHARED = ("bandwidth", "tied")


def architecture_of(*members: Mapping[str, Any]) -> Architecture:
    """Make the architecture that the settings of a dictionary name, or those of a stack's members."""
    first = members[0]
    options = {name: first[name] for name in SHARED if name in first}
    options |= {name: tuple(member[name] for member in members) for name in SPARSITY if name in first}
    if first.get("auxk_coefficient"):
        options["auxk"] = AuxK(coefficient=first["auxk_coefficient"])
    return KINDS[first["architecture"]](compute_dtype=TORCH[first.get("compute_dtype", "float32")], **options)


def kind_of(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give what the members of a stack have in common besides their shape."""
    named = tuple(settings.get(name) for name in ("architecture", "compute_dtype", "auxk_coefficient", *SHARED))
    return (*named, settings.get("b_dec") == "none")
