"""The geometric median of the activations, one of the points where b_dec may start."""

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 100
TOLERANCE = 1e-6


def geometric_median(x: Float[Tensor, "row d"]) -> Float[Tensor, " d"]:
    """Find the point whose summed distance to the rows is smallest, by Weiszfeld's iteration in float64.

    A distant row pulls no harder than a near one, unlike on the mean. If an iterate coincides with a row, the step of
    Vardi and Zhang (2000) moves on or stays: the row may be the median itself. Stops once the point moves by less than
    a millionth of the mean distance.
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
        met = float((~apart).sum())  # Vardi–Zhang: coincident rows pull back with weight equal to their count
        step = max(0.0, 1 - met / float(pull.norm().clamp(min=1e-300))) * pull / weight.sum()
        point = point + step
        if float(step.norm()) <= TOLERANCE * float(distance.mean()):
            break
    return point
