"""One layer whose neurons have codes: y = g(u W_in + b_in) W_out + b_out, and the norm that its input comes out of.

The MLPs of GPT-2, GPT-NeoX and Llama and the layers of a plain network are all of this form. In a gated one (SwiGLU,
GeGLU, ReGLU) z = u W_in + b_in is what the gate sees, v = u W_value + b_value is multiplied by it, y = (g(z)⊙v) W_out
+ b_out, and the code is z's.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from winnow.errors import UserError
from winnow.shapes import as_tensor
from winnow.spline.gates import Gate


@dataclass(frozen=True)
class Norm:
    """LayerNorm ("layer") or RMSNorm ("rms") over the last dimension, with its weight, bias and ε."""

    kind: Literal["layer", "rms"]
    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float

    def centre(self, rows: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """Subtract each row's mean, which LayerNorm does and RMSNorm does not."""
        return rows - rows.mean(-1, keepdim=True) if self.kind == "layer" else rows

    def __call__(self, rows: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """Normalise rows of the residual stream."""
        centred = self.centre(rows)
        return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.eps) * self.weight + self.bias


@dataclass(frozen=True)
class MLP:
    """One layer: weights as row vectors meet them, gate, and norm; `name` is how errors call it.

    Raises `UserError` where the shapes do not fit each other.
    """

    W_in: Float[Tensor, "d_in n"]
    b_in: Float[Tensor, " n"]
    W_out: Float[Tensor, "n d_out"]
    b_out: Float[Tensor, " d_out"]
    gate: Gate
    W_value: Float[Tensor, "d_in n"] | None = None
    b_value: Float[Tensor, " n"] | None = None
    norm: Norm | None = None
    name: str = "this layer"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name[:2] in ("W_", "b_") and value is not None and not _is_floating(value):
                found = getattr(value, "dtype", type(value).__name__)
                raise UserError(
                    f"{self.name}: {field.name}: expected a tensor of floating-point numbers, found {found}"
                )
        if self.W_in.ndim != 2 or self.W_out.ndim != 2:
            raise UserError(f"{self.name}: W_in and W_out must be matrices, found {self._shapes()}")
        (d_in, n), d_out = self.W_in.shape, self.W_out.shape[1]
        expected = {"b_in": (n,), "W_out": (n, d_out), "b_out": (d_out,)}
        if self.W_value is not None or self.b_value is not None:
            expected |= {"W_value": (d_in, n), "b_value": (n,)}
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None or tuple(value.shape) != shape:
                raise UserError(f"{self.name}: {name} must be {list(shape)} beside the others, found {self._shapes()}")
        if self.norm is not None and not self.norm.weight.shape == self.norm.bias.shape == (d_in,):
            raise UserError(f"{self.name}: its norm must be {d_in} wide, found {list(self.norm.weight.shape)}")

    def _shapes(self) -> str:
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name} {list(t.shape)}" for name, t in tensors.items() if isinstance(t, Tensor))

    @property
    def d_in(self) -> int:
        return self.W_in.shape[0]

    @property
    def n(self) -> int:
        """The number of neurons, and so of bits in a code."""
        return self.W_in.shape[1]

    @property
    def is_gated(self) -> bool:
        return self.W_value is not None

    @property
    def has_affine_maps(self) -> bool:
        """Whether y is affine in u once the code is given."""
        return not self.is_gated and self.gate.power == 1

    def refuse_quadratic_maps(self) -> None:
        """Raise `UserError` where y is quadratic in u once the code is given."""
        if not self.has_affine_maps:
            why = "is multiplied by another linear map of its input" if self.is_gated else "squares its pre-activations"
            raise UserError(
                f"{self.name}: maps are quadratic given the code, since the gate {self.gate.name} {why}; there is no "
                "affine map; its codes, boundaries and tangent map exist"
            )

    def pre(self, u: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row n"]:
        """Compute the pre-activations, whose signs are the hard code."""
        return self.fitting(u) @ self.W_in + self.b_in

    def post(self, u: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row n"]:
        """Compute the hidden layer's activations."""
        active = self.gate(self.pre(u))
        return active * self.value(u) if self.is_gated else active

    def value(self, u: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row n"]:
        """Compute what a gated layer multiplies its gate by."""
        if self.W_value is None or self.b_value is None:
            raise UserError(f"{self.name}: it is not gated")
        return self.fitting(u) @ self.W_value + self.b_value

    def __call__(self, u: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """Compute the layer's output."""
        return self.post(u) @ self.W_out + self.b_out

    def read(self, residual: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_in"]:
        """Apply the norm: from the residual stream to what the layer reads. Raises `UserError` where it has none."""
        if self.norm is None:
            raise UserError(f"{self.name}: no norm comes before it; give the rows that it reads itself")
        return self.norm(self.fitting(residual))

    def fitting(self, rows: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_in"]:
        """Bring rows to the weights' dtype and device; raises `UserError` where they are not d_in wide, or integers."""
        rows = as_tensor(f"{self.name}: rows", rows)
        if rows.ndim == 0 or rows.shape[-1] != self.d_in:
            raise UserError(f"{self.name}: rows must be {self.d_in} wide, found a tensor of shape {list(rows.shape)}")
        return rows.to(self.W_in)

    def to(self, where: torch.dtype | torch.device) -> "MLP":
        """Give the same layer in another dtype or on another device."""

        def moved(owner: "MLP | Norm") -> dict[str, Tensor]:
            values = {field.name: getattr(owner, field.name) for field in fields(owner)}
            return {name: value.to(where) for name, value in values.items() if isinstance(value, Tensor)}

        norm = None if self.norm is None else replace(self.norm, **moved(self.norm))
        return replace(self, norm=norm, **moved(self))


def _is_floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
