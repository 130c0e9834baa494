"""Where a straight line from a to b crosses the boundaries of polytopes, exactly.

A crossing is a place t in [0, 1] where a neuron's bit h > 0 changes. Of a line that only touches a boundary no bit
changes, so that is no crossing. Three cases: a layer that reads the line itself; a layer that reads it through
LayerNorm or RMSNorm; several affine layers with relu between them. All is computed in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from winnow.errors import UserError
from winnow.spline.gates import Gate
from winnow.spline.mlp import MLP, Norm

PAIRS_AT_ONCE = 256  # times n numbers, in a dozen arrays
ROUNDING = 1e-13  # places in [0, 1] nearer than that are one


@dataclass(frozen=True)
class Crossings:
    """Every crossing on some lines, by line, then by t.

    line: which of the `lines` lines; layer: counted from the first that the line goes through; neuron: within it.
    t: 0 at a, 1 at b. length: ‖b − a‖ of every line.
    """

    line: Int64[Tensor, " crossing"]
    layer: Int64[Tensor, " crossing"]
    neuron: Int64[Tensor, " crossing"]
    t: Float[Tensor, " crossing"]
    length: Float[Tensor, " line"]
    layers: int

    def __len__(self) -> int:
        return len(self.t)

    def counts(self) -> Int64[Tensor, "line layer"]:
        """Count the crossings of every line in every layer."""
        flat = self.line * self.layers + self.layer
        return torch.bincount(flat, minlength=len(self.length) * self.layers).reshape(-1, self.layers)

    def of_layer(self, layer: int) -> "Crossings":
        """Keep the crossings of one layer, which becomes layer 0."""
        kept = self.layer == layer
        line, neuron, t = self.line[kept], self.neuron[kept], self.t[kept]
        return Crossings(line, torch.zeros_like(line), neuron, t, self.length, 1)

    def density(self) -> Float[Tensor, "line layer"]:
        """Compute crossings per unit of length, which depends on the length: compare only lines of equal length.

        `winnow.spline.density` matches them. NaN for a line of length 0.
        """
        return self.counts() / self.length[:, None]


def layer_crossings(
    mlp: MLP, a: Float[Tensor, "line d_in"], b: Float[Tensor, "line d_in"], before_norm: bool = False
) -> Crossings:
    """Find the crossings of one layer's boundaries on each line from a row of `a` to that row of `b`.

    before_norm: the line runs in the residual stream, and the layer reads its points through its norm; else it runs in
    what the layer reads. Raises `UserError` for shapes that do not fit, or where there is no norm.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise UserError(f"lines need two ends [line, d] of one shape, found {list(a.shape)} and {list(b.shape)}")
    mlp = mlp.to(torch.float64)
    a, b = mlp.fitting(a), mlp.fitting(b)
    if before_norm and mlp.norm is None:
        raise UserError(f"{mlp.name}: no norm comes before it; leave before_norm out")
    found = [_nothing()]
    for start in range(0, len(a), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        norm = mlp.norm if before_norm else None
        roots = affine_roots(mlp, a[part], b[part]) if norm is None else normed_roots(mlp, norm, a[part], b[part])
        line, neuron, which = torch.nonzero(~roots.isnan(), as_tuple=True)
        found.append(((line + start).cpu(), neuron.cpu(), roots[line, neuron, which].cpu()))
    line, neuron, t = map(torch.cat, zip(*found, strict=True))
    return _sorted(line, torch.zeros_like(line), neuron, t, (b - a).norm(dim=1).cpu(), layers=1)


def _nothing() -> tuple[Tensor, Tensor, Tensor]:
    none = torch.zeros(0, dtype=torch.int64)
    return none, none, none.double()


def _sorted(line: Tensor, layer: Tensor, neuron: Tensor, t: Tensor, length: Tensor, layers: int) -> Crossings:
    order = torch.from_numpy(np.lexsort((neuron.numpy(), layer.numpy(), t.numpy(), line.numpy())))
    return Crossings(line[order], layer[order], neuron[order], t[order], length, layers)


def affine_roots(mlp: MLP, a: Float[Tensor, "line d_in"], b: Float[Tensor, "line d_in"]) -> Float[Tensor, "line n 1"]:
    """Solve h_i(a + t(b−a)) = 0 for the neurons that are on at one end and off at the other; NaN for the others."""
    start, end = mlp.pre(a), mlp.pre(b)
    return torch.where(start * end.sign() < 0, start / (start - end), torch.nan)[..., None]


def normed_roots(
    mlp: MLP, norm: Norm, a: Float[Tensor, "line d_in"], b: Float[Tensor, "line d_in"]
) -> Float[Tensor, "line n 2"]:
    """Solve h_i(norm(a + t(b−a))) = 0, at most twice for each neuron; NaN for what is no crossing.

    With z₀ + tδ the centred line, q(t) = ‖z₀+tδ‖²/d + ε = q₀ + q₁t + q₂t², W̃ = diag(γ)W_in, β̃ = βW_in + b_in,
    U = z₀W̃ and V = δW̃, a neuron is on where f(t) = U + tV + β̃√q(t) > 0. Its roots are among those of the quadratic
    (U+tV)² = β̃²q(t), whose others are where U + tV = +β̃√q(t). A candidate counts if f changes sign at it.
    """
    start, step = norm.centre(a), norm.centre(b - a)
    d = start.shape[1]
    q0 = start.square().sum(1, keepdim=True) / d + norm.eps  # [line, 1]
    q1 = 2 * (start * step).sum(1, keepdim=True) / d
    q2 = step.square().sum(1, keepdim=True) / d
    W = norm.weight[:, None] * mlp.W_in
    U, V = start @ W, step @ W  # [line, n]
    beta = norm.bias @ mlp.W_in + mlp.b_in  # [n]

    def on(t: Tensor) -> Tensor:
        return U + t * V + beta * (q0 + t * (q1 + t * q2)).clamp(min=0).sqrt() > 0

    # A quarter of the discriminant, divided by β̃²: without that, (UV)² − U²V² cancels where β̃ is small, as it always
    # is without biases. q₁²/4 ≤ q₀q₂, so only the last term is taken off the others.
    quarter = (q0 * V - q1 * U) * V + q2 * U * U - beta.square() * (q0 * q2 - q1 * q1 / 4)
    half_b = U * V - beta.square() * q1 / 2
    root = beta.abs() * quarter.clamp(min=0).sqrt()
    far = -(half_b + torch.where(half_b < 0, -root, root))  # no subtraction of near numbers
    candidates = solve_quadratic(V * V - beta.square() * q2, far, U * U - beta.square() * q0)
    real = (quarter >= 0) | (beta == 0)
    outside = ~((candidates > 0) & (candidates < 1) & real[..., None])  # what is not finite, too
    t = candidates.masked_fill(outside, 1.0).sort(-1).values  # [line, n, 2]
    first, second = t.unbind(-1)
    # between the candidates nothing changes, so three places tell all bits
    bits = torch.stack([on(first / 2), on((first + second) / 2), on((second + 1) / 2)], -1)
    crosses = (bits[..., 1:] != bits[..., :-1]) & (t < 1)
    return t.masked_fill(~crosses, torch.nan)


def solve_quadratic(
    A: Float[Tensor, "line n"], far: Float[Tensor, "line n"], C: Float[Tensor, "line n"]
) -> Float[Tensor, "line n 2"]:
    """Give both roots of A t² + B t + C, `far` being −(B/2 + sign(B)·√(B²/4 − AC)); a root may be infinite or NaN."""
    return torch.stack([far / A, C / far], -1)


def network_crossings(
    affine: Sequence[Callable[[Tensor], Tensor]],
    gate: Gate,
    a: Float[Tensor, "line ..."],
    b: Float[Tensor, "line ..."],
) -> Crossings:
    """Find the crossings of the boundaries of several affine layers with a piecewise linear gate between them.

    affine: each maps [point, …] to the pre-activations [point, …] of the next layer and must be affine: a product, a
    convolution, mean pooling; in float64. Along a line every pre-activation is linear between *knots*, the places
    where a neuron of an earlier layer switches, so its roots are found by interpolation, and are knots of the next
    layer. Raises `UserError` for a smooth gate and for shapes that do not fit.
    """
    if not gate.is_hard or gate.power != 1:
        raise UserError(f"gate {gate.name}: lines through several layers are exact for relu and leaky relu only")
    if a.ndim < 2 or a.shape != b.shape:
        raise UserError(f"lines need two ends [line, …] of one shape, found {list(a.shape)} and {list(b.shape)}")
    a, b = a.double(), b.double()
    none = _nothing()
    lines, layers, neurons, places = [none[0]], [none[0]], [none[1]], [none[2]]
    for pair in range(len(a)):
        knots = torch.tensor([0.0, 1.0], dtype=torch.float64, device=a.device)
        values = torch.stack([a[pair], b[pair]])  # at the knots
        for number, before_gate in enumerate(affine):
            h = before_gate(values)
            knots, flat, neuron, at = insert_roots(knots, h.flatten(1))
            lines.append(torch.full_like(neuron, pair, device="cpu"))
            layers.append(torch.full_like(neuron, number, device="cpu"))
            neurons.append(neuron.cpu())
            places.append(at.cpu())
            values = gate(flat).unflatten(1, h.shape[1:])
    length = (b - a).flatten(1).norm(dim=1).cpu()
    line, layer, neuron, t = map(torch.cat, (lines, layers, neurons, places))
    return _sorted(line, layer, neuron, t, length, len(affine))


def insert_roots(
    knots: Float[Tensor, " knot"], h: Float[Tensor, "knot n"]
) -> tuple[Float[Tensor, " more"], Float[Tensor, "more n"], Int64[Tensor, " crossing"], Float[Tensor, " crossing"]]:
    """Insert a knot wherever a neuron that is linear between knots changes sign.

    Returns all knots, h at them, and for each crossing its neuron and its place.
    """
    segment, neuron = torch.nonzero(h[:-1] * h[1:].sign() < 0, as_tuple=True)
    before, after = h[segment, neuron], h[segment + 1, neuron]
    share = before / (before - after)  # in (0, 1)
    at = knots[segment] + share * (knots[segment + 1] - knots[segment])
    rows = torch.lerp(h[segment], h[segment + 1], share[:, None])
    rows[torch.arange(len(rows), device=h.device), neuron] = 0.0  # by rounding it need not be
    # within their segment, even where rounding moves a root onto a knot
    place = torch.cat([torch.arange(len(knots), device=h.device, dtype=torch.float64), segment + 0.5])
    everywhere = torch.cat([knots, at])
    order = torch.from_numpy(np.lexsort((everywhere.cpu().numpy(), place.cpu().numpy()))).to(h.device)
    knots, h = everywhere[order], torch.cat([h, rows])[order]
    # Within a segment a neuron is on or off throughout, so the mean of its ends tells; either end alone may have the
    # wrong sign by rounding. Knots that coincide up to rounding leave a segment of no length, whose bits are noise.
    kept = knots.diff() > ROUNDING
    on = (h[:-1] + h[1:])[kept] > 0
    change, neuron = torch.nonzero(on[1:] != on[:-1], as_tuple=True)
    return knots, h, neuron, knots[:-1][kept][1:][change]


def sampled_crossings(
    codes: Callable[[Float[Tensor, " point"]], Bool[Tensor, "point n"]], growth: float = 0.01, most: int = 1025
) -> tuple[int, int]:
    """Count bit changes along a line at 17, 33, … points until the count grows by less than a share of `growth`.

    codes: the hard codes at places t in [0, 1]. For layers that no exact case covers. The count is a lower bound: what
    switches there and back between two points is not seen. Returns the count and the number of points.
    """
    t = torch.linspace(0, 1, 17, dtype=torch.float64)
    seen = codes(t)
    count = _changes(seen)
    while len(t) < most:
        middle = (t[1:] + t[:-1]) / 2
        finer = torch.empty((len(t) + len(middle), seen.shape[1]), dtype=torch.bool)
        finer[::2], finer[1::2] = seen, codes(middle)
        t = torch.linspace(0, 1, len(finer), dtype=torch.float64)
        seen, before = finer, count
        count = _changes(seen)
        if count - before < growth * max(before, 1):
            break
    return count, len(t)


def _changes(codes: Tensor) -> int:
    return int((codes[1:] != codes[:-1]).sum())
