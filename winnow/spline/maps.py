"""The affine map that each code selects, and how different the maps of two codes are.

Given weights p = π(h) of the neurons, y(u) = u A_p + c_p with A_p = W_in diag(p) W_out, exactly: the *value map*. A_p
is linear in p, so it is also the mean of the hard maps A_s over independent bits s_i ~ Bernoulli(p_i). The *tangent
map* W_in diag(g′(h)) W_out is the derivative, and equals A_p for relu only. Crossing neuron i's boundary changes A by
the rank-one matrix w_i o_i, of norm J_i = ‖w_i‖‖o_i‖: the *jump*.

    ‖A_p − A_q‖² = (p−q) K (p−q)ᵀ,   K = (W_inᵀ W_in) ⊙ (W_out W_outᵀ)   [n, n]

gives all distances between maps without one d×d matrix.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from winnow.errors import UserError
from winnow.shapes import as_tensor, checks_shapes
from winnow.spline.codes import UNDECIDED
from winnow.spline.gates import Gate
from winnow.spline.mlp import MLP

Kind = Literal["value", "hard", "tangent"]


@dataclass(frozen=True)
class AffineMap:
    """u → u A + c, one for each row."""

    A: Float[Tensor, "*row d_in d_out"]
    c: Float[Tensor, "*row d_out"]

    def __call__(self, u: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_out"]:
        """Apply each row's map to that row; a single map to every row, and every map to a single row.

        Raises `UserError` for rows of another width, or as many as there are not maps.
        """
        u, (*rows, d_in, _) = as_tensor("rows", u), self.A.shape
        if not u.ndim or u.shape[-1] != d_in or (rows and u.ndim > 1 and list(u.shape[:-1]) != rows):
            raise UserError(
                f"rows: expected {[*rows, d_in]}, as the maps are {list(self.A.shape)}, found {list(u.shape)}"
            )
        return (u.to(self.A)[..., None, :] @ self.A).squeeze(-2) + self.c


def affine_map_of(mlp: MLP, u: Float[Tensor, "*row d_in"], kind: Kind = "value") -> AffineMap:
    """Give the map that applies at each row which the layer reads.

    kind: "value", which equals the layer at u; "hard", that of the on/off bits; "tangent", the derivative, which also
    equals the layer at u, and exists for gated layers. Raises `UserError` for the first two of a layer that is
    quadratic given the code.
    """
    if kind == "tangent":
        return _tangent_map(mlp, u)
    return map_of_weights(mlp, weights_of(mlp.gate, mlp.pre(u), kind))


def weights_of(gate: Gate, h: Float[Tensor, "*row n"], kind: Kind) -> Float[Tensor, "*row n"]:
    """Give the diagonal between the matrices of each kind of map: π(h), π(∞h) or g′(h)."""
    match kind:
        case "value":
            return gate.weight(h)
        case "hard":
            return gate.weight(h, sharpness=inf)
        case "tangent":
            return gate.slope(h)
    raise UserError(f"kind = {kind!r}: there are the maps value, hard and tangent")


@checks_shapes
def map_of_weights(mlp: MLP, p: Float[Tensor, "*row n"]) -> AffineMap:
    """Give A_p and c_p for weights p of the neurons. Raises `UserError` where the layer has no affine maps."""
    mlp.refuse_quadratic_maps()
    p = _weights(mlp, p)
    return AffineMap(_through(mlp.W_in, p, mlp.W_out), (p * mlp.b_in) @ mlp.W_out + mlp.b_out)


def _tangent_map(mlp: MLP, u: Tensor) -> AffineMap:
    h = mlp.pre(u)
    slope = mlp.gate.slope(h)
    if mlp.W_value is None:
        A = _through(mlp.W_in, slope, mlp.W_out)
    else:  # the product rule
        A = _through(mlp.W_in, slope * mlp.value(u), mlp.W_out) + _through(mlp.W_value, mlp.gate(h), mlp.W_out)
    return AffineMap(A, mlp(u) - (u.to(A)[..., None, :] @ A).squeeze(-2))


def _through(W_in: Tensor, p: Tensor, W_out: Tensor) -> Tensor:
    return (W_in * p[..., None, :]) @ W_out  # [..., d_in, d_out]


def _weights(mlp: MLP, p: Tensor) -> Tensor:
    if p.ndim == 0 or p.shape[-1] != mlp.n:
        raise UserError(f"{mlp.name}: codes must be {mlp.n} wide, found a tensor of shape {list(p.shape)}")
    return p.to(mlp.W_in)


def jumps(mlp: MLP) -> Float[Tensor, " n"]:
    """Compute J_i = ‖w_i‖‖o_i‖, by how much A changes where neuron i goes from π = 0 to π = 1."""
    mlp.refuse_quadratic_maps()
    return mlp.W_in.norm(dim=0) * mlp.W_out.norm(dim=1)


def kernel(mlp: MLP) -> Float[Tensor, "n n"]:
    """Compute K, the inner products of the neurons' rank-one maps w_i o_i, in the weights' dtype."""
    mlp.refuse_quadratic_maps()
    return (mlp.W_in.T @ mlp.W_in) * (mlp.W_out @ mlp.W_out.T)


@checks_shapes
def map_norms(K: Float[Tensor, "n n"], p: Float[Tensor, "row n"]) -> Float[Tensor, " row"]:
    """Compute ‖A_p‖ of every row."""
    p = p.to(K)
    return ((p @ K) * p).sum(-1).clamp(min=0).sqrt()


@checks_shapes
def map_distances(
    K: Float[Tensor, "n n"], p: Float[Tensor, "row n"], q: Float[Tensor, "other n"] | None = None
) -> Float[Tensor, "row other"]:
    """Compute ‖A_p − A_q‖ between every two rows; without `q`, of `p` with itself: symmetric, zeros on the diagonal.

    Squares are subtracted, so near maps lose digits: errors are about ‖A‖ times the root of the dtype's precision.
    `paired_map_distances` has no such loss.
    """
    p = p.to(K)
    other = p if q is None else q.to(K)
    p_K = p @ K
    squares = (p_K * p).sum(1)[:, None] + ((other @ K) * other).sum(1) - 2 * p_K @ other.T
    distances = squares.clamp(min=0).sqrt()
    return distances if q is not None else ((distances + distances.T) / 2).fill_diagonal_(0)


@checks_shapes
def paired_map_distances(
    K: Float[Tensor, "n n"], p: Float[Tensor, "row n"], q: Float[Tensor, "row n"]
) -> Float[Tensor, " row"]:
    """Compute ‖A_p − A_q‖ of each row of p with that row of q."""
    return map_norms(K, p.to(K) - q.to(K))


@checks_shapes
def relative_jumps(K: Float[Tensor, "n n"], p: Float[Tensor, "row n"], off: float = 0.0) -> Float[Tensor, "row n"]:
    """Compute ρ_i = ‖A¹ − A⁰‖ / ½(‖A⁰‖ + ‖A¹‖), neuron i fully off and fully on, all others as in the row; in [0, 2].

    Scaling either matrix, or relu's gauge (w, b, o) → (cw, cb, o/c), leaves it. off: π of a neuron that is off, leaky
    relu's slope. A neuron whose boundary changes nothing has 0.
    """
    p = p.to(K)
    p_K = p @ K
    norm = (p_K * p).sum(-1, keepdim=True)  # ‖A_p‖²
    diagonal = K.diagonal()

    def norm_with(weight: float) -> Tensor:
        step = weight - p
        return (norm + 2 * step * p_K + step * step * diagonal).clamp(min=0).sqrt()

    jump = (1 - off) * diagonal.sqrt()
    mean = (norm_with(off) + norm_with(1.0)) / 2
    return torch.where(mean > 0, jump / mean, 0.0)  # where both maps are 0, so is the jump


@checks_shapes
def crossing_rates(on: Bool[Tensor, "row n"]) -> Float[Tensor, " n"]:
    """Compute κ_i = 2 f_i (1 − f_i), how often neuron i differs between two random rows, f_i its on-rate."""
    rate = on.double().mean(0)
    return 2 * rate * (1 - rate)


class Flips(NamedTuple):
    """How far apart the maps of two random rows are, and would be if neurons flipped independently of each other."""

    independent: float  # √(Σ 2 Var(p_i) J_i²) / ‖A‖; of on/off bits 2 Var(p_i) is κ_i
    observed: float  # root mean square ‖A_p − A_q‖ / ‖A‖ over pairs of rows, below √2

    @property
    def ratio(self) -> float:
        """1 where neurons flip independently, above where they flip together."""
        return self.observed / self.independent


@checks_shapes
def flips(K: Float[Tensor, "n n"], p: Float[Tensor, "row n"]) -> Flips:
    """Compare the true distance between two rows' maps with that of neurons which flip independently.

    p: the neurons' weights, soft, or hard for the maps of on/off bits. Both numbers must be of the same weights: κ of
    bits beside the distance of soft maps would show how soft the codes are. Over all pairs of rows, a row with itself
    included, as κ counts them; ‖A‖ is the root mean square over rows.
    """
    p = p.to(K)
    mean = p.mean(0)
    around = p - mean
    norm = ((p @ K) * p).sum(-1).mean()  # mean ‖A_p‖²
    observed = 2 * ((around @ K) * around).sum(-1).mean()  # mean ‖A_p − A_q‖²
    independent = 2 * (around.square().mean(0) * K.diagonal()).sum()
    return Flips(independent=(independent / norm).sqrt().item(), observed=(observed / norm).sqrt().item())


@checks_shapes
def full_share(p: Float[Tensor, "row n"], q: Float[Tensor, "row n"]) -> float:
    """Give the share of the neurons with p ≤ ½ < q, or the reverse, that go from below .1 to above .9; NaN for none.

    p and q: soft codes of paired rows. A hard code is above ½ where h > 0, for every gate.
    """
    low, high = UNDECIDED
    differ = (p > 0.5) != (q > 0.5)
    full = (torch.minimum(p, q) < low) & (torch.maximum(p, q) > high)
    return ((differ & full).sum() / differ.sum()).item()
