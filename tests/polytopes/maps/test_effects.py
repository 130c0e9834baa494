"""Effects against the KL that they stand for, computed by moving the residual stream a little."""

import pytest
import torch
from torch import Tensor

from polytopes.interventions.patched import Position, open_position
from polytopes.maps.effects import effects_at, sampled_gradients
from polytopes.reading.subject import Subject
from winnow.spline.mlp import MLP

ROW = 7


def at_row(embedded: Subject, layer: int, hook: str) -> tuple[MLP, Position, Tensor, Tensor]:
    """Give a layer, the row's position, its value at a hook, and how far the layer's neurons are on there."""
    mlp = embedded.mlp(layer)
    position = open_position(embedded.model, embedded.tokens_up_to(ROW))
    p = mlp.gate.weight(mlp.pre(embedded.hook_input(layer)[ROW]))
    return mlp, position, embedded.values(hook)[ROW], p


def test_the_effect_is_the_root_of_twice_the_kl(embedded: Subject):
    """KL(q‖q_δ) ≈ ½ δFδᵀ for δ = ε o_i: so E_i = ‖w_i‖ √(2 KL) / ε, up to the sampling of labels."""
    layer, hook = 2, "blocks.2.hook_resid_post"
    mlp, position, value, p = at_row(embedded, layer, hook)
    found = effects_at(position, hook, value, mlp, p, seed=0, labels=1500)
    neurons = [0, 100, 300, 500]
    step = 0.02 * value.norm() * torch.nn.functional.normalize(mlp.W_out[neurons], dim=1)
    with torch.no_grad():
        logits = position.run(hook, torch.cat([value[None], value + step, value - step])).logits.double()
    log_q = logits.log_softmax(-1)
    kl = (log_q[0].exp() * (log_q[0] - log_q[1:])).sum(-1).reshape(2, -1).mean(0)
    expected = mlp.W_in[:, neurons].norm(dim=0) * (2 * kl).sqrt() / step.norm(dim=1) * mlp.W_out[neurons].norm(dim=1)
    effect = found.relative[neurons].double() * found.whole
    torch.testing.assert_close(effect, expected.double(), rtol=0.12, atol=0)
    assert expected.max() > 1.3 * expected.min()  # what is compared does differ


def test_the_whole_maps_effect_bounds_nothing_by_chance(embedded: Subject):
    """‖A F^½‖ by explicit matrices equals the product that is never formed."""
    layer, hook = 1, "blocks.1.hook_resid_post"
    mlp, position, value, p = at_row(embedded, layer, hook)
    found = effects_at(position, hook, value, mlp, p, seed=3, labels=8)
    gradients = sampled_gradients(position, hook, value, 3, 8).double()
    F = gradients.T @ gradients / 8
    A = (mlp.W_in * p).double() @ mlp.W_out.double()
    assert found.whole == pytest.approx((A @ F @ A.T).trace().sqrt().item(), rel=1e-4)
    i = 17
    jump = torch.outer(mlp.W_in[:, i], mlp.W_out[i]).double()
    expected = (jump @ F @ jump.T).trace().sqrt()
    assert found.relative[i].item() * found.whole == pytest.approx(expected.item(), rel=1e-4)


def test_labels_follow_the_seed(embedded: Subject):
    position = open_position(embedded.model, embedded.tokens_up_to(ROW))
    hook = "blocks.1.hook_resid_post"
    value = embedded.values(hook)[ROW]
    first, again, other = (sampled_gradients(position, hook, value, seed, 8) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
