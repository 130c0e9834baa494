"""Directions as a small autoencoder packs them: a toy model of superposition (Elhage et al. 2022).

x̂ = ReLU(WᵀWx + b), trained on one-hot x; one batch holds them all (the identity). No two features fire together, the
limit of sparsity: negative overlaps cost nothing, positive ones only beyond −b. So features end with fewer positive
overlaps than random directions have, but not in opposite pairs: of 128 features in 64 dimensions no two have a cosine
above 0.11 (random directions: 0.4), while some reach −0.5.

No feature × feature matrix is kept in memory: each block of features computes its part of the gradient from one
product, on one thread. So the result does not depend on the number of cores.
"""

from concurrent.futures import Executor

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from winnow.runtime.threads import one_thread, thread_pool

STEPS = 500
RATE = 0.005
BLOCK = 256  # features per block of the gradient


def learned_directions(start: Float[Tensor, "feature d_model"], steps: int = STEPS) -> Float[Tensor, "feature d_model"]:
    """Train from `start`, and return the normalised columns of W, here as rows."""
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
    """Compute the gradient of the mean over inputs of ‖ReLU(WᵀWx + b) − x‖² with respect to W and b.

    With M the gradient of the sum before ReLU, M[i, j] of input i and output j, that of W (features as rows) is
    (M + Mᵀ) W and that of b the sum of M over inputs. WᵀW is symmetric, so one block of it gives both M and Mᵀ.
    """
    of_W, of_b = torch.empty_like(W), torch.empty_like(b)

    def block(first: int) -> None:
        part = slice(first, min(len(W), first + BLOCK))
        overlaps = W @ W[part].T  # (feature, block)
        own = torch.arange(part.start, part.stop)

        def error(bias: Tensor) -> Tensor:
            y = (overlaps + bias).relu_()
            y[own, own - first] -= (y[own, own - first] > 0).to(y.dtype)  # ReLU has no gradient at 0
            return y.mul_(2 / len(W))

        M = error(b[part])
        of_b[part] = M.sum(0)
        of_W[part] = M.add_(error(b[:, None])).T @ W

    firsts = range(0, len(W), BLOCK)
    for _ in pool.map(block, firsts) if len(firsts) > 1 else map(block, firsts):
        pass
    return of_W, of_b
