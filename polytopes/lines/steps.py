"""Small steps from one row: the one that changes the output most, random ones, and what each crosses on its way.

A `Forward` runs rows [variant, d] and gives logits [variant, d_vocab] and the pre-activations [variant, n] of all
later layers. Of a step: the KL divergence from the output at the row itself, whether the top token changes, how many
bits change on the straight way there (17 points: a lower bound), and how long that way is in pre-activations, Σ‖Δh‖.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]

POINTS = 17  # on the way, both ends included
ROUNDS = 12  # of gradient ascent
STARTS = 4  # of which the best one counts: the side of a boundary on which it begins decides where it can go
RATE = 0.35  # of the step's length, in each round
MOST = 32.0  # times as long, where a random step is made longer
PATH_ROUNDS = 3  # for a step as long downstream as another
KL_ROUNDS = 12  # for a step that changes the output as much


class Steps(NamedTuple):
    """What steps from one row do."""

    kl: Float[Tensor, " step"]  # nats, of the row's own output from the step's
    flip: Bool[Tensor, " step"]  # whether the top token changes
    crossings: Int64[Tensor, " step"]
    path: Float[Tensor, " step"]  # length of the way in pre-activations


def kl_from(base: Float[Tensor, " d_vocab"], logits: Float[Tensor, "step d_vocab"]) -> Float[Tensor, " step"]:
    """Compute KL(q₀‖q) in float64, q₀ being the softmax of `base`."""
    q0, q = base.double().log_softmax(-1), logits.double().log_softmax(-1)
    return (q0.exp() * (q0 - q)).sum(-1).clamp(min=0)


@torch.no_grad()
def measure_steps(forward: Forward, x: Float[Tensor, " d"], steps: Float[Tensor, "step d"]) -> Steps:
    """Measure what each step from x does at its end and crosses on its way."""
    t = torch.linspace(0, 1, POINTS, dtype=x.dtype, device=x.device)
    way = x + t[:, None] * steps[:, None]  # [step, point, d]
    logits, pre = forward(way.flatten(0, 1))
    logits, pre = logits.unflatten(0, (len(steps), POINTS)), pre.unflatten(0, (len(steps), POINTS))
    base = logits[0, 0]
    on = pre > 0
    return Steps(
        kl_from(base, logits[:, -1]).cpu(),
        (logits[:, -1].argmax(-1) != base.argmax()).cpu(),
        (on[:, 1:] != on[:, :-1]).sum((1, 2)).cpu(),
        pre.double().diff(dim=1).norm(dim=2).sum(1).cpu(),
    )


@torch.enable_grad()
def ascend(forward: Forward, x: Float[Tensor, " d"], length: float, starts: Float[Tensor, "start d"]) -> Tensor:
    """Find a step [d] of a length that changes the output much, by projected gradient ascent on the KL divergence.

    starts: steps of any length, from whose directions it begins at half the length; the best of them is given.
    """
    with torch.no_grad():
        base = forward(x[None])[0][0]
    steps = on_sphere(starts, length / 2)
    for _ in range(ROUNDS):
        steps = steps.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(kl_from(base, forward(x + steps)[0]).sum(), steps)
        with torch.no_grad():
            steps = steps + on_sphere(gradient, RATE * length)
            steps = steps * (length / steps.norm(dim=1, keepdim=True).clamp(min=length))
    with torch.no_grad():
        steps = on_sphere(steps, length)
        return steps[kl_from(base, forward(x + steps)[0]).argmax()]


def on_sphere(rows: Float[Tensor, "row d"], length: float) -> Float[Tensor, "row d"]:
    """Give rows a length; a row of zeros, as a gradient may be, stays one."""
    norm = rows.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, rows * (length / norm.clamp(min=torch.finfo(rows.dtype).tiny)), 0.0)


def scale_to_path(
    forward: Forward, x: Float[Tensor, " d"], steps: Float[Tensor, "step d"], found: Steps, target: float
) -> tuple[Steps, Float[Tensor, " step"]]:
    """Make steps longer or shorter until their way is `target` long in pre-activations; give that and the factors.

    found: what the steps themselves do. The way is nearly proportional to the step, so few rounds do; what they reach
    is in the result.
    """
    scale = torch.ones(len(steps), dtype=torch.float64)
    for _ in range(PATH_ROUNDS):
        better = scale * target / found.path
        scale = torch.where(better.isfinite(), better, 1.0).clamp(1 / MOST, MOST)
        found = measure_steps(forward, x, steps * scale[:, None].to(steps))
    return found, scale


@torch.no_grad()
def scale_to_kl(
    forward: Forward, x: Float[Tensor, " d"], steps: Float[Tensor, "step d"], target: float
) -> Float[Tensor, " step"]:
    """Find how many times as long steps must be to change the output by `target` nats, by bisection of the logarithm.

    NaN where 32 times as long does not suffice, or a 32nd is too much.
    """
    base = forward(x[None])[0][0]

    def kl(scale: Tensor) -> Tensor:
        return kl_from(base, forward(x + steps * scale[:, None].to(steps))[0]).cpu()

    low = torch.full((len(steps),), 1 / MOST, dtype=torch.float64)
    high = 1 / low
    reached = (kl(low) <= target) & (kl(high) >= target)
    for _ in range(KL_ROUNDS):
        middle = (low * high).sqrt()
        above = kl(middle) >= target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return torch.where(reached, (low * high).sqrt(), torch.nan)
