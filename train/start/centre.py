"""Where b_dec starts: in the middle of the activations, by one of two meanings of the word."""

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 100
TOLERANCE = 1e-6


def geometric_median(x: Float[Tensor, "row d"]) -> Float[Tensor, " d"]:
    """Find the point whose summed distance to the rows is smallest, by Weiszfeld's iteration in float64.

    Rows far away pull no harder than near ones, unlike on the mean. Where an iterate meets a row, the step of Vardi
    and Zhang (2000) goes on or stays: a row may be the median itself. Ends once the point moves by less than a
    millionth of the mean distance.
    """
    x = x.double()
    point = x.mean(0)
    for _ in range(ROUNDS):
        difference = x - point
        distance = difference.norm(dim=1)
        apart = distance > 1e-12
        if not bool(apart.any()):
            return point
        weight = torch.where(apart, 1 / distance, 0)
        pull = weight @ difference  # towards the rows apart, each with unit force
        met = float((~apart).sum())  # rows at the point hold it with as much force as they are many
        step = max(0.0, 1 - met / float(pull.norm().clamp(min=1e-300))) * pull / weight.sum()
        point = point + step
        if float(step.norm()) <= TOLERANCE * float(distance.mean()):
            break
    return point
