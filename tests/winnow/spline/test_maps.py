"""Affine maps against the layers themselves, against sums over all codes, and distances against explicit matrices."""

from itertools import product

import pytest
import torch
from torch import Tensor

from tests.winnow.spline.planted import draw, make_mlp
from winnow.errors import UserError
from winnow.spline.gates import Gate, find_gate, leaky
from winnow.spline.maps import (
    affine_map_of,
    crossing_rates,
    flips,
    full_share,
    jumps,
    kernel,
    map_distances,
    map_norms,
    map_of_weights,
    paired_map_distances,
    relative_jumps,
)
from winnow.spline.mlp import MLP

GATES = ["relu", "leaky_relu", "gelu", "gelu_new", "silu", "quick_gelu"]


@pytest.mark.parametrize("gate", GATES)
def test_the_value_map_is_the_layer_at_its_row(gate: str):
    mlp, u = make_mlp(gate), draw(4, 3, 7)
    there = affine_map_of(mlp, u)
    assert there.A.shape == (4, 3, 7, 5)
    torch.testing.assert_close(there(u), mlp(u), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(there.A[1, 2], mlp.W_in @ torch.diag(mlp.gate.weight(mlp.pre(u[1, 2]))) @ mlp.W_out)


def mean_of_hard_maps(mlp: MLP, p: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over all 2^n codes, each with its probability."""
    A, c = torch.zeros(mlp.d_in, mlp.b_out.shape[0]).double(), torch.zeros_like(mlp.b_out)
    for code in product((0.0, 1.0), repeat=mlp.n):
        s = torch.tensor(code, dtype=torch.float64)
        probability = torch.where(s > 0, p, 1 - p).prod()
        there = map_of_weights(mlp, s)
        A, c = A + probability * there.A, c + probability * there.c
    return A, c


@pytest.mark.parametrize("gate", ["gelu", "gelu_new", "silu"])
def test_the_value_map_is_the_mean_of_all_regions_maps_by_their_probability(gate: str):
    mlp, u = make_mlp(gate, n=9), draw(7)
    A, c = mean_of_hard_maps(mlp, mlp.gate.code(mlp.pre(u)))
    there = affine_map_of(mlp, u)
    torch.testing.assert_close(there.A, A, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(there.c, c, rtol=1e-10, atol=1e-10)
    with pytest.raises(AssertionError):  # the probabilities of another gate
        torch.testing.assert_close(mean_of_hard_maps(mlp, find_gate("quick_gelu").code(mlp.pre(u)))[0], A)


def z_scores(mlp: MLP, u: Tensor, probabilities: Tensor, draws: int = 400) -> Tensor:
    """How many standard errors the mean output over drawn codes is from the layer's output: [row, d_out]."""
    generator = torch.Generator().manual_seed(5)
    s = torch.bernoulli(probabilities.expand(draws, *probabilities.shape), generator=generator)
    outputs = (s * mlp.pre(u)) @ mlp.W_out + mlp.b_out
    return (outputs.mean(0) - mlp(u)) / (outputs.std(0) / draws**0.5)


def test_400_drawn_codes_average_to_the_layers_output_within_3_standard_errors():
    mlp, u = make_mlp("gelu_new", n=64), draw(10, 7, seed=8)
    within = z_scores(mlp, u, mlp.gate.code(mlp.pre(u))).abs() < 3
    assert within.double().mean() > 0.95
    wrong = z_scores(mlp, u, mlp.gate.code(mlp.pre(u), sharpness=2.0)).abs() < 3
    assert wrong.double().mean() < 0.9


@pytest.mark.parametrize("gate", [*GATES, "relu2"])
@pytest.mark.parametrize("gated", [False, True])
def test_the_tangent_map_is_the_derivative_and_touches_the_layer(gate: str, gated: bool):
    mlp, u = make_mlp(gate, gated=gated), draw(6, 7, seed=3)
    there = affine_map_of(mlp, u, "tangent")
    for row, A in zip(u, there.A, strict=True):
        jacobian = torch.autograd.functional.jacobian(mlp, row)
        torch.testing.assert_close(A, jacobian.T, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(there(u), mlp(u), rtol=1e-11, atol=1e-11)


def test_the_two_maps_are_one_for_relu_alone():
    u = draw(5, 7)
    for gate in ("relu", "gelu"):
        mlp = make_mlp(gate)
        value, tangent, hard = (affine_map_of(mlp, u, kind).A for kind in ("value", "tangent", "hard"))
        assert torch.allclose(value, tangent) == (gate == "relu")
        assert torch.allclose(value, hard) == (gate == "relu")


@pytest.mark.parametrize("kind", ["value", "hard"])
@pytest.mark.parametrize("make", [lambda: make_mlp("silu", gated=True), lambda: make_mlp("relu2")])
def test_layers_that_are_quadratic_given_the_code_have_no_affine_map(make, kind):
    with pytest.raises(UserError, match="maps are quadratic given the code"):
        affine_map_of(make(), draw(7), kind)
    with pytest.raises(UserError, match="maps are quadratic given the code"):
        kernel(make())
    with pytest.raises(UserError, match="maps are quadratic given the code"):
        jumps(make())


def test_the_derivatives_on_both_sides_of_a_boundary_differ_by_exactly_the_jump():
    mlp, u = make_mlp("relu"), draw(7, seed=4)
    for neuron in range(4):
        w = mlp.W_in[:, neuron]
        on_boundary = u - w * (u @ w + mlp.b_in[neuron]) / (w @ w)
        sides = [on_boundary + side * 1e-6 * w / w.norm() for side in (-1, 1)]
        assert ((mlp.pre(sides[0]) > 0) != (mlp.pre(sides[1]) > 0)).sum() == 1
        A, B = (torch.autograd.functional.jacobian(mlp, side) for side in sides)
        assert (A - B).norm().item() == pytest.approx(jumps(mlp)[neuron].item(), rel=1e-12)


@pytest.mark.parametrize("gate", ["relu", "gelu", "leaky_relu"])
def test_distances_by_the_kernel_equal_those_of_explicit_matrices(gate: str):
    mlp = make_mlp(gate)
    p, q = (mlp.gate.weight(mlp.pre(draw(6, 7, seed=seed))) for seed in (1, 2))
    K = kernel(mlp)
    A, B = map_of_weights(mlp, p).A, map_of_weights(mlp, q).A
    torch.testing.assert_close(map_norms(K, p), A.flatten(1).norm(dim=1), rtol=1e-10, atol=0)
    explicit = torch.cdist(A.flatten(1), B.flatten(1))
    torch.testing.assert_close(map_distances(K, p, q), explicit, rtol=1e-6, atol=0)
    torch.testing.assert_close(paired_map_distances(K, p, q), explicit.diagonal(), rtol=1e-10, atol=0)
    own = map_distances(K, p)
    assert torch.equal(own, own.T)
    assert (own.diagonal() == 0).all()
    torch.testing.assert_close(jumps(mlp), K.diagonal().sqrt())


@pytest.mark.parametrize("gate", [find_gate("relu"), find_gate("gelu"), leaky(0.3)])
def test_relative_jumps_equal_those_of_explicit_matrices(gate: Gate):
    mlp = make_mlp(gate, n=10)
    p = gate.weight(mlp.pre(draw(4, 7, seed=6)))
    found = relative_jumps(kernel(mlp), p, gate.off)
    for row in range(4):
        for neuron in range(10):
            off, on = p[row].clone(), p[row].clone()
            off[neuron], on[neuron] = gate.off, 1.0
            A0, A1 = map_of_weights(mlp, off).A, map_of_weights(mlp, on).A
            expected = (A1 - A0).norm() / ((A0.norm() + A1.norm()) / 2)
            assert found[row, neuron].item() == pytest.approx(expected.item(), rel=1e-10)
    assert ((found > 0) & (found <= 2 + 1e-12)).all()


def test_a_layer_of_one_neuron_jumps_by_all_that_it_is():
    mlp = make_mlp("relu", n=1)
    assert relative_jumps(kernel(mlp), torch.ones(1, 1).double()).item() == pytest.approx(2.0)


def test_scaling_a_matrix_or_a_neuron_leaves_relative_jumps_but_not_jumps():
    mlp = make_mlp("relu")
    u = draw(20, 7)
    p = mlp.gate.weight(mlp.pre(u))
    expected = relative_jumps(kernel(mlp), p)
    scaled = MLP(7 * mlp.W_in, 7 * mlp.b_in, 3 * mlp.W_out, mlp.b_out, mlp.gate)
    c = draw(mlp.n, seed=12).exp()
    gauged = MLP(c * mlp.W_in, c * mlp.b_in, mlp.W_out / c[:, None], mlp.b_out, mlp.gate)
    for other in (scaled, gauged):
        torch.testing.assert_close(relative_jumps(kernel(other), other.gate.weight(other.pre(u))), expected)
    torch.testing.assert_close(jumps(scaled), 21 * jumps(mlp))
    torch.testing.assert_close(jumps(gauged), jumps(mlp))


@pytest.mark.parametrize("gate", [leaky(0.0), leaky(0.2), find_gate("gelu")])
def test_flips_equal_the_mean_over_all_pairs_of_rows(gate: Gate):
    mlp = make_mlp(gate)
    K, h = kernel(mlp), mlp.pre(draw(40, 7))
    p = gate.weight(h)
    mean_norm = map_norms(K, p).square().mean()
    found = flips(K, p)
    assert found.observed == pytest.approx((map_distances(K, p).square().mean() / mean_norm).sqrt().item(), rel=1e-9)
    if gate.is_hard:
        kappa = crossing_rates(h > 0)
        expected = (1 - gate.off) * ((kappa * jumps(mlp) ** 2).sum() / mean_norm).sqrt()
        assert found.independent == pytest.approx(expected.item(), rel=1e-9)


def test_the_ratio_is_1_where_neurons_flip_by_themselves_and_more_where_together():
    mlp = make_mlp("relu")
    alone = (draw(200_000, mlp.n) > 0.3).double()
    assert flips(kernel(mlp), alone).ratio == pytest.approx(1.0, abs=0.01)
    assert flips(kernel(mlp), draw(200_000, mlp.n).sigmoid()).ratio == pytest.approx(1.0, abs=0.01)
    twin = MLP(mlp.W_in[:, [0, 0]], mlp.b_in[[0, 0]], mlp.W_out[[0, 0]], mlp.b_out, mlp.gate)
    assert flips(kernel(twin), alone[:1000, [0, 0]]).ratio == pytest.approx(2**0.5)


def test_the_share_of_crossings_that_are_full():
    p = torch.tensor([[0.05, 0.40, 0.95, 0.20, 0.60]])
    q = torch.tensor([[0.95, 0.60, 0.02, 0.30, 0.95]])
    assert full_share(p, q) == pytest.approx(2 / 3)
    hard = make_mlp("relu").gate.code(draw(2, 50))
    assert full_share(hard[:1], hard[1:]) == 1.0


def test_codes_and_rows_of_another_width_are_refused():
    mlp = make_mlp("relu")
    with pytest.raises(UserError, match=r"codes must be 24 wide, found a tensor of shape \[3, 7\]"):
        map_of_weights(mlp, draw(3, 7))
    with pytest.raises(UserError, match=r"rows must be 7 wide, found a tensor of shape \[3, 8\]"):
        affine_map_of(mlp, draw(3, 8))
