"""Directions as a small autoencoder packs them: a toy model of superposition (Elhage et al. 2022).

x̂ = ReLU(WᵀWx + b), trained on one-hot x, all of them one batch, the identity. Features never fire together there, the
limit of sparsity: negative overlaps cost nothing, positive ones only beyond −b. So they end with fewer positive
overlaps than chance gives, not in opposite pairs: of 128 in 64 dimensions no two end with a cosine above 0.11 (at
random, 0.4), while some go to −0.5.

Nothing of feature × feature is held: a block of features computes its part of the gradient from one product, on one
thread. So the bits do not depend on how many cores there are.
"""

from concurrent.futures import Executor

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from winnow.runtime.threads import one_thread, thread_pool

STEPS = 500
RATE = 0.005
BLOCK = 256  # features whose gradient is computed at a time


def learned_directions(start: Float[Tensor, "feature d_model"], steps: int = STEPS) -> Float[Tensor, "feature d_model"]:
    """Train from `start`, and normalise what W's columns became; here they are rows."""
    W, b = start.clone(), start.new_zeros(len(start))
    optimizer = torch.optim.Adam([W, b], lr=RATE, fused=True)
    with thread_pool(torch.get_num_threads(), torch_threads=1) as pool, one_thread():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            W.grad, b.grad = gradient(W, b, pool)
            optimizer.step()
    return F.normalize(W, dim=1)


def gradient(
    W: Float[Tensor, "feature d_model"], b: Float[Tensor, " feature"], pool: Executor
) -> tuple[Float[Tensor, "feature d_model"], Float[Tensor, " feature"]]:
    """Give the gradient of the mean over inputs of ‖ReLU(WᵀWx + b) − x‖² with respect to both.

    With M the gradient of the sum before ReLU, M[i, j] of input i and output j, that of W (features as rows) is
    (M + Mᵀ) W and that of b the sum of M over inputs. WᵀW is symmetric, so that M and Mᵀ follow from one block of it.
    """
    of_W, of_b = torch.empty_like(W), torch.empty_like(b)

    def block(first: int) -> None:
        part = slice(first, min(len(W), first + BLOCK))
        overlaps = W @ W[part].T  # (feature, block)
        own = torch.arange(part.start, part.stop)

        def error(bias: Tensor) -> Tensor:
            y = (overlaps + bias).relu_()
            y[own, own - first] -= (y[own, own - first] > 0).to(y.dtype)  # where it is 0 there is no gradient
            return y.mul_(2 / len(W))

        M = error(b[part])
        of_b[part] = M.sum(0)
        of_W[part] = M.add_(error(b[:, None])).T @ W

    firsts = range(0, len(W), BLOCK)
    for _ in pool.map(block, firsts) if len(firsts) > 1 else map(block, firsts):
        pass
    return of_W, of_b
