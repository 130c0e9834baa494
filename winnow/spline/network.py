"""A plain network: affine layers with gates between them, such as an `nn.Sequential` of Linear and ReLU.

network = Network.of(nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
network.mlp(0)      # the first hidden layer, and the affine layer that reads it
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from winnow.errors import UserError
from winnow.spline.gates import Gate, find_gate, leaky
from winnow.spline.maps import AffineMap, Kind, weights_of
from winnow.spline.mlp import MLP


@dataclass(frozen=True)
class Network:
    """x → … gate(x W + b) …: hidden layers of one gate, and a last affine layer without one.

    weights: W [d_in, d_out] and biases b [d_out] of every affine layer, one more than there are hidden layers.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    gate: Gate

    def __post_init__(self) -> None:
        if len(self.weights) < 2 or len(self.weights) != len(self.biases):
            raise UserError(
                "a network needs a weight and a bias for each of at least two affine layers, found "
                f"{len(self.weights)} weights and {len(self.biases)} biases"
            )
        for layer in range(self.hidden_layers):
            self.mlp(layer)  # checks the shapes

    @classmethod
    def of(cls, modules: nn.Sequential) -> "Network":
        """Read a network off an `nn.Sequential` of `Linear` and gates in turn; its weights are shared, not copied.

        Raises `UserError` naming the first module that does not fit.
        """
        affine: list[nn.Linear] = []
        gates: list[Gate] = []
        for number, module in enumerate(modules):
            gate_is_next = len(affine) > len(gates)
            if isinstance(module, nn.Linear) and not gate_is_next:
                affine.append(module)
            elif gate_is_next and not isinstance(module, nn.Linear):
                gates.append(_gate_of(module, number))
            else:
                expected = "a gate" if gate_is_next else "a Linear"
                raise UserError(f"module {number} of the network: expected {expected}, found {module}")
        if not gates or len(affine) != len(gates) + 1 or len(set(map(_constants, gates))) > 1:
            raise UserError(
                "a network must be Linear, gate, …, Linear, all gates alike; found "
                + ", ".join(type(module).__name__ for module in modules)
            )
        biases = [torch.zeros_like(a.weight[:, 0]) if a.bias is None else a.bias.detach() for a in affine]
        return cls(tuple(a.weight.detach().T for a in affine), tuple(biases), gates[0])

    @property
    def hidden_layers(self) -> int:
        return len(self.weights) - 1

    def mlp(self, layer: int) -> MLP:
        """Give a hidden layer, whose output is what the next affine layer computes from it."""
        if type(layer) is not int or not 0 <= layer < self.hidden_layers:
            raise UserError(f"layer = {layer}: the network has hidden layers 0 to {self.hidden_layers - 1}")
        W_in, W_out = self.weights[layer : layer + 2]
        b_in, b_out = self.biases[layer : layer + 2]
        return MLP(W_in, b_in, W_out, b_out, self.gate, name=f"layer {layer}")

    def pre(self, x: Float[Tensor, "*row d_in"]) -> list[Float[Tensor, "*row n"]]:
        """Compute the pre-activations of every hidden layer."""
        h = self.mlp(0).pre(x)
        layers = [h]
        for W, b in list(zip(self.weights, self.biases, strict=True))[1:-1]:
            layers.append(h := self.gate(h) @ W + b)
        return layers

    def affine_layers(self) -> list[Callable[[Tensor], Tensor]]:
        """Give the affine layers before each gate in float64, as `network_crossings` takes them."""

        def affine(W: Tensor, b: Tensor) -> Callable[[Tensor], Tensor]:
            W, b = W.double(), b.double()
            return lambda x: x @ W + b

        return [affine(W, b) for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True)]

    def __call__(self, x: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """Compute the network's output."""
        return self.gate(self.pre(x)[-1]) @ self.weights[-1] + self.biases[-1]

    def affine_map(self, x: Float[Tensor, "*row d_in"], kind: Kind = "value") -> AffineMap:
        """Give the map of the whole network at each row, the product of its layers' maps there.

        kind "value" equals the network at x; it is also the mean of the hard maps over independent codes of the layers.
        kind "hard" takes every layer's bits at the values that the network itself computes.
        """
        if kind != "tangent":
            self.mlp(0).refuse_quadratic_maps()
        layers = self.pre(x)
        A, c = self.weights[0], self.biases[0]
        for h, W, b in zip(layers, self.weights[1:], self.biases[1:], strict=True):
            p = weights_of(self.gate, h, kind)
            A = (A * p[..., None, :]) @ W  # [..., d_in, n]
            c = (c * p) @ W + b
        if kind == "tangent":
            c = self(x) - (x.to(A)[..., None, :] @ A).squeeze(-2)
        return AffineMap(A, c)


def _constants(gate: Gate) -> tuple[object, ...]:
    """What tells gates apart: the noise is a function, which may be made anew for each."""
    probe = torch.linspace(-3, 3, 7, dtype=torch.float64)
    return (gate.off, gate.power, *gate(probe).tolist())


def _gate_of(module: nn.Module, number: int) -> Gate:
    match module:
        case nn.LeakyReLU():
            return leaky(module.negative_slope)
        case nn.GELU():
            return find_gate("gelu" if module.approximate == "none" else "gelu_pytorch_tanh")
        case nn.ReLU() | nn.SiLU() | nn.Tanh() | nn.Sigmoid():
            return find_gate(type(module).__name__.lower())
    raise UserError(
        f"module {number} of the network: {module} is no gate whose codes are known (ReLU, LeakyReLU, GELU, SiLU)"
    )
