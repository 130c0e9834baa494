"""A dense step where Triton is `available`: the same losses and gradients in fewer passes over rows x latents."""

from jaxtyping import Float
from torch import Tensor

from train.architectures.base import Architecture
from train.architectures.step import Parameters, Step


def dense_step(
    architecture: Architecture,
    p: Parameters,
    x: Float[Tensor, "row d"],
    centred: Float[Tensor, "learner row d"],
    pre: Float[Tensor, "learner row n"],
    slope: Float[Tensor, " learner"],
    width: float | None = None,
) -> Step:
    """Compute loss and gradients where f = ReLU(pre); given `width`, where f is pre above p["threshold"], else 0.

    Loss: mean over rows of ‖x − x̂‖² + slope · Σ f, summed over rows. Given `width`, that of the kernel around the
    thresholds, the slope is of the number of latents that pass instead, and the caller adds that to the loss.
    """
    from train.kernels.dense import passed, through

    b, threshold = len(x), None if width is None else p["threshold"]
    f, magnitude, passing = passed(pre, threshold)
    error = architecture.dense_error(p, x, f)
    squared_error = error.square().sum((1, 2))
    gradient = error.mul_(2 / b)
    g_pre = architecture.product(gradient, p["W_dec"].mT)
    found = through(g_pre, f if threshold is None else pre, slope, threshold, width or 1.0)
    loss = squared_error / b
    if threshold is None:
        loss = loss + slope * architecture.collectives.all_reduce(magnitude.sum(1))
    gradients = architecture.dense_gradients(p, centred, f, gradient, g_pre, found.b_enc)
    if found.threshold is not None:
        gradients["threshold"] = found.threshold
    return Step(
        loss=loss,
        squared_error=squared_error,
        active=architecture.collectives.all_reduce(passing.sum(1)),
        fired=passing > 0,
        gradient=gradient,
        gradients=gradients,
    )
