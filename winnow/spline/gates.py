"""Gates g(h) = h·π(h) with π ∈ [0, 1]: how far each neuron is on, exactly, by the gate's name.

π(h) = P(h + ε > 0) for a noise ε that each gate has of its own: none for relu, normal for gelu, logistic for silu. So a
smooth gate has a *soft code* π(h), and relu's is 0 or 1 (Balestriero & Baraniuk 2018, arXiv 1810.09274). The *hard
code* of every gate is h > 0.

    gate = find_gate("gelu_new")
    gate.code(h), gate.code(h, sharpness=inf)      # soft, hard
    gate(h)                                        # equals h * gate.weight(h)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from winnow.errors import UserError, nearest

Noise = Callable[[Tensor], tuple[Tensor, Tensor]]  # h -> P(h + ε > 0) and its derivative


@dataclass(frozen=True)
class Gate:
    """A gate g(h) = h^power · (off + (1 − off)·P(h + ε > 0)), elementwise.

    name: as a model's config has it. noise: None for a gate without noise, whose code is 0 or 1. off: π of a neuron
    that is off, leaky relu's slope, else 0. power: 1, or 2 for relu², whose layer has no affine map given the code.
    """

    name: str
    noise: Noise | None = None
    off: float = 0.0
    power: int = 1

    @property
    def is_hard(self) -> bool:
        """Whether a neuron is either on or off: boundaries are exact, and between them π is constant."""
        return self.noise is None

    def __call__(self, h: Float[Tensor, "*neurons"]) -> Float[Tensor, "*neurons"]:
        """Apply the gate."""
        return h**self.power * self.weight(h)

    def code(self, h: Float[Tensor, "*neurons"], sharpness: float = 1.0) -> Float[Tensor, "*neurons"]:
        """Compute P(h + ε > 0), in [0, 1]; at `sharpness` η that of ηh, and at infinity the hard code."""
        if self.noise is None or sharpness == inf:
            return is_on(h).to(h.dtype)
        return self.noise(sharpness * h)[0]

    def weight(self, h: Float[Tensor, "*neurons"], sharpness: float = 1.0) -> Float[Tensor, "*neurons"]:
        """Compute π(h), which is the code but for leaky relu, where a neuron that is off passes on `off` of h."""
        code = self.code(h, sharpness)
        return self.off + (1 - self.off) * code if self.off else code

    def slope(self, h: Float[Tensor, "*neurons"]) -> Float[Tensor, "*neurons"]:
        """Compute the derivative g′(h); that of relu and leaky relu at 0 is the one from below."""
        if self.noise is None:
            return self.power * h ** (self.power - 1) * self.weight(h)
        probability, density = self.noise(h)
        weight = self.off + (1 - self.off) * probability
        return self.power * h ** (self.power - 1) * weight + h**self.power * (1 - self.off) * density


def is_on(h: Float[Tensor, "*neurons"]) -> Bool[Tensor, "*neurons"]:
    """Compute the hard code: which neurons' pre-activations are above 0."""
    return h > 0


def leaky(slope: float) -> Gate:
    """Make leaky relu of a slope in [0, 1) below 0."""
    if not 0 <= slope < 1:
        raise UserError(f"leaky relu: its slope must lie in [0, 1), found {slope}")
    return Gate("leaky_relu", off=slope)


def swish(beta: float, name: str = "swish") -> Gate:
    """Make h·σ(βh), whose noise is logistic of scale 1/β."""
    if not beta > 0:
        raise UserError(f"{name}: beta must be above 0, found {beta}")

    def logistic(h: Tensor) -> tuple[Tensor, Tensor]:
        probability = torch.sigmoid(beta * h)
        return probability, beta * probability * (1 - probability)

    return Gate(name, logistic)


def find_gate(name: str) -> Gate:
    """Give the gate that a model's config calls `name`.

    Raises `UserError` for a gate that is not of the form h·π(h), and for one that is not in the table.
    """
    make = _GATES.get(name)
    if make is None:
        _refuse(name)
    return make(name)


def _refuse(name: str) -> NoReturn:
    known = ", ".join(_GATES)
    if name in ("tanh", "sigmoid"):
        raise UserError(
            f"gate {name}: it is not of the form h·π(h) with π between 0 and 1, so its neurons are never off and there "
            f"are no polytopes; gates that have some: {known}"
        )
    raise UserError(f"gate {name}: its codes are not known{nearest(name, _GATES)}; known are {known}")


def _normal(h: Tensor) -> tuple[Tensor, Tensor]:
    probability = torch.special.erfc(-h / math.sqrt(2)) / 2  # ndtr and 1 + erf lose all digits far below 0
    return probability, torch.exp(-h * h / 2) / math.sqrt(2 * math.pi)


def _tanh_law(h: Tensor) -> tuple[Tensor, Tensor]:
    """The law that gelu's approximation by tanh has in place of the normal one; at most 1.8e-4 from it."""
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    inner = scale * (h + cubic * h**3)
    # ½(1 + tanh x) = σ(2x), which keeps its digits where h is far below 0
    probability = torch.sigmoid(2 * inner)
    return probability, 2 * probability * (1 - probability) * scale * (1 + 3 * cubic * h * h)


_GATES: dict[str, Callable[[str], Gate]] = {
    "relu": Gate,
    "leaky_relu": lambda name: Gate(name, off=0.01),  # torch's slope, which transformers' configs cannot change
    **dict.fromkeys(("gelu", "gelu_python"), lambda name: Gate(name, _normal)),
    **dict.fromkeys(
        ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"),
        lambda name: Gate(name, _tanh_law),
    ),
    **dict.fromkeys(("silu", "swish"), lambda name: swish(1.0, name)),
    "quick_gelu": lambda name: swish(1.702, name),
    "relu2": lambda name: Gate(name, power=2),
}
