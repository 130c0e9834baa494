"""How far crossing a neuron's boundary changes the model's output: E_i = ‖w_i‖ (o_i F o_iᵀ)^½.

F = E_{y~q}[∇log q(y) ∇log q(y)ᵀ] is the Fisher matrix of the output at a position with respect to the residual stream
after the layer: KL(q‖q_δ) ≈ ½ δ F δᵀ. It is sampled with labels y drawn from q, by one backward pass for all of them,
and is never formed: with gradients g_k, o F oᵀ is the mean of (o·g_k)².
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from polytopes.interventions.patched import Position
from winnow.spline.mlp import MLP

LABELS = 32


class EffectsOfRow(NamedTuple):
    """Effects at one row; multiply `relative` by `whole` for E itself."""

    relative: Float[Tensor, " n"]  # E_i / whole
    whole: float  # ‖W_in diag(p) W_out F^½‖, the effect of the whole map
    labels: int


def effects_at(
    position: Position,
    hook: str,
    value: Float[Tensor, " d"],
    mlp: MLP,
    p: Float[Tensor, " n"],
    seed: int,
    labels: int = LABELS,
) -> EffectsOfRow:
    """Compute the effects of a layer's boundaries at one position, whose residual after the layer is `value`.

    hook: of that residual. p: the weights of the neurons there.
    """
    gradients = sampled_gradients(position, hook, value, seed, labels).to(mlp.W_out)
    with torch.no_grad():
        along = mlp.W_out @ gradients.T / labels**0.5  # [n, label]: row i has norm (o_i F o_iᵀ)^½
        effect = mlp.W_in.norm(dim=0) * along.norm(dim=1)
        whole = ((mlp.W_in * p) @ along).norm()
    return EffectsOfRow((effect / whole).cpu(), whole.item(), labels)


def sampled_gradients(
    position: Position, hook: str, value: Float[Tensor, " d"], seed: int, labels: int
) -> Float[Tensor, "label d"]:
    """Draw labels y from the output's distribution, and give ∇log q(y) with respect to the value at the hook."""
    values = value.to(position.model.device).repeat(labels, 1).requires_grad_()
    with torch.enable_grad():
        log_q = position.run(hook, values).logits.float().log_softmax(-1)
        drawn = torch.multinomial(
            log_q[0].detach().exp().cpu(), labels, replacement=True, generator=torch.Generator().manual_seed(seed)
        )
        chosen = log_q.gather(1, drawn.to(log_q.device)[:, None])
        (gradients,) = torch.autograd.grad(chosen.sum(), values)
    return gradients
