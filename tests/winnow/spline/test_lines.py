"""Crossings in closed form, by dense sampling, and with mistakes planted in the solvers."""

from dataclasses import replace
from math import atan, pi

import pytest
import torch
from torch import Tensor, nn

from tests.winnow.spline.planted import bit_changes, draw, make_mlp, make_network, make_norm
from winnow.errors import UserError
from winnow.spline import lines
from winnow.spline.gates import find_gate
from winnow.spline.lines import Crossings, layer_crossings, network_crossings, sampled_crossings
from winnow.spline.mlp import MLP, Norm
from winnow.spline.network import Network


def along(a: Tensor, b: Tensor):
    return lambda t: a + t[:, None] * (b - a)


def by_neuron(found: Crossings, line: int, layer: int, n: int) -> Tensor:
    return torch.bincount(found.neuron[(found.line == line) & (found.layer == layer)], minlength=n)


def hyperplanes(n: int) -> MLP:
    """x = k / (n + 1), for k = 1 … n, in one dimension."""
    places = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
    return MLP(torch.ones(1, n).double(), -places, draw(n, 1), draw(1), find_gate("relu"))


def test_hyperplanes_are_crossed_where_they_stand():
    found = layer_crossings(hyperplanes(19), torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    assert found.neuron.tolist() == list(range(19))
    assert found.t.tolist() == pytest.approx([k / 20 for k in range(1, 20)], abs=1e-15)
    assert found.density().tolist() == [[19.0]]


def test_a_line_that_starts_or_ends_on_a_boundary_does_not_cross_it():
    ends = torch.tensor([[0.0], [0.5]]).double(), torch.tensor([[0.5], [1.0]]).double()
    assert layer_crossings(hyperplanes(1), *ends).counts().tolist() == [[0], [0]]
    assert layer_crossings(hyperplanes(3), *ends).counts().tolist() == [[1], [1]]


def assert_share_crossed(a: Tensor, b: Tensor, sigma: float, scale: float = 1.0, n: int = 40_000) -> None:
    """Of neurons w ~ N(0, I), b ~ N(0, σ²), a share arccos ρ / π separates a from b; within 3 standard errors."""
    W, bias = draw(len(a), n, seed=3), sigma * draw(n, seed=4)
    mlp = MLP(W, scale * bias, draw(n, 1), draw(1), find_gate("relu"))
    share = len(layer_crossings(mlp, a[None], b[None])) / n
    rho = (a @ b + sigma**2) / ((a @ a + sigma**2) * (b @ b + sigma**2)).sqrt()
    expected = (rho.acos() / pi).item()
    assert abs(share - expected) < 3 * (expected * (1 - expected) / n) ** 0.5


def test_the_share_of_gaussian_neurons_that_a_line_crosses():
    assert_share_crossed(draw(6, seed=1), 2 * draw(6, seed=2), 1.5)
    with pytest.raises(AssertionError):  # forgetting the biases
        assert_share_crossed(draw(6, seed=1), 2 * draw(6, seed=2), 1.5, scale=0.0)


def test_where_gaussian_neurons_cross_a_ray():
    n, sigma, radius = 40_000, 0.7, 3.0
    mlp = MLP(draw(5, n, seed=3), sigma * draw(n, seed=4), draw(n, 1), draw(1), find_gate("relu"))
    v = draw(1, 5, seed=5)
    v /= v.norm()
    found = layer_crossings(mlp, torch.zeros_like(v), radius * v)
    for part in (0.1, 0.3, 1.0):
        expected = atan(part * radius / sigma) / pi
        share = (found.t < part).double().sum().item() / n
        assert abs(share - expected) < 3 * (expected * (1 - expected) / n) ** 0.5
    roots = -mlp.b_in / (v[0] @ mlp.W_in)
    torch.testing.assert_close(found.t, roots[(roots > 0) & (roots < radius)].sort().values / radius)


def test_every_crossing_of_a_layer_by_dense_sampling():
    mlp = make_mlp("gelu", n=40)
    a, b = draw(600, 7, seed=1), draw(600, 7, seed=2)  # more than are solved at once
    found = layer_crossings(mlp, a, b)
    changed = (mlp.pre(a) > 0) != (mlp.pre(b) > 0)
    assert torch.equal(found.counts()[:, 0], changed.sum(1))
    torch.testing.assert_close(found.length, (a - b).norm(dim=1))
    at = a[found.line] + found.t[:, None] * (b - a)[found.line]
    h = mlp.pre(at).gather(1, found.neuron[:, None])
    assert h.abs().max() < 1e-12
    for line in (0, 300, 599):
        sampled = bit_changes(lambda t, line=line: mlp.pre(along(a[line], b[line])(t)) > 0)
        assert torch.equal(by_neuron(found, line, 0, 40), sampled)
    assert (found.line.diff() >= 0).all()
    assert (found.t.diff()[found.line.diff() == 0] >= 0).all()


def normed(kind: str, bias: float, eps: float = 1e-5) -> MLP:
    mlp = make_mlp("gelu", n=60)
    return replace(mlp, b_in=bias * mlp.b_in, norm=make_norm(kind, 7, bias, eps))


def assert_equals_sampling(mlp: MLP, a: Tensor, b: Tensor) -> Crossings:
    """Each neuron crosses as often as dense samples change, and where the layer's own pre-activation is 0."""
    found = layer_crossings(mlp, a, b, before_norm=True)
    for line in range(len(a)):
        sampled = bit_changes(lambda t, line=line: mlp.pre(mlp.read(along(a[line], b[line])(t))) > 0)
        assert torch.equal(by_neuron(found, line, 0, mlp.n), sampled)
    at = a[found.line] + found.t[:, None] * (b - a)[found.line]
    h = mlp.pre(mlp.read(at)).gather(1, found.neuron[:, None])
    assert h.abs().max() < 1e-9
    return found


def lines_through_the_middle(count: int = 10) -> tuple[Tensor, Tensor]:
    """Lines that pass near the origin, where a norm turns quickly, so that many neurons cross twice."""
    a = draw(count, 7, seed=1)
    return a, -a + draw(count, 7, seed=2)


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("bias", [1.0, 1e-3, 1e-9, 0.0])
def test_every_crossing_behind_a_norm_by_dense_sampling(kind: str, bias: float):
    found = assert_equals_sampling(normed(kind, bias), *lines_through_the_middle())
    assert len(found) > 100


def one_neuron(weight: list[float], bias: float, eps: float = 0.0) -> MLP:
    """h = u·w + bias, behind an RMSNorm."""
    w = torch.tensor(weight, dtype=torch.float64)
    norm = Norm("rms", torch.ones_like(w), torch.zeros_like(w), eps)
    return MLP(w[:, None], torch.tensor([bias]).double(), draw(1, 1), draw(1), find_gate("relu"), norm=norm)


def test_a_neuron_that_crosses_twice_behind_a_norm():
    mlp = one_neuron([0.0, 1.0], -1.0)  # on where x₂ / √((x₁² + x₂²)/2) > 1, so where |x₁| < x₂
    a, b = torch.tensor([[-2.0, 1.0]]).double(), torch.tensor([[2.0, 1.0]]).double()
    found = layer_crossings(mlp, a, b, before_norm=True)
    assert found.t.tolist() == pytest.approx([0.25, 0.75], abs=1e-15)
    assert found.density().item() == pytest.approx(0.5)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_root_that_is_lost_is_noticed(lost: int, monkeypatch: pytest.MonkeyPatch):
    solve = lines.solve_quadratic
    mlp = normed("layer", 1.0)

    def forgetful(A: Tensor, far: Tensor, C: Tensor) -> Tensor:
        roots = solve(A, far, C)
        roots[..., lost] = torch.nan
        return roots

    monkeypatch.setattr(lines, "solve_quadratic", forgetful)
    with pytest.raises(AssertionError):
        assert_equals_sampling(mlp, *lines_through_the_middle())
    with pytest.raises(AssertionError):
        test_a_neuron_that_crosses_twice_behind_a_norm()


def test_a_norm_that_forgets_its_centre_or_its_variance_is_noticed(monkeypatch: pytest.MonkeyPatch):
    mlp, ends = normed("layer", 1.0), lines_through_the_middle()
    assert mlp.norm is not None
    rms = replace(mlp, norm=replace(mlp.norm, kind="rms"))
    wide = replace(mlp, norm=replace(mlp.norm, eps=0.3))
    expected = layer_crossings(mlp, *ends, before_norm=True)
    for other in (rms, wide):
        monkeypatch.setattr(lines, "normed_roots", lambda _, __, a, b, o=other: roots_of(o, a, b))
        with pytest.raises(AssertionError):
            assert_equals_sampling(mlp, *ends)
    monkeypatch.undo()
    assert torch.equal(layer_crossings(mlp, *ends, before_norm=True).t, expected.t)


_normed_roots = lines.normed_roots


def roots_of(mlp: MLP, a: Tensor, b: Tensor) -> Tensor:
    assert mlp.norm is not None
    return _normed_roots(mlp, mlp.norm, a, b)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_a_ray_from_the_origin_of_the_residual_stream_crosses_nothing(kind: str):
    mlp = normed(kind, 1.0, eps=1e-30)
    v = draw(20, 7)
    assert len(layer_crossings(mlp, 1e-6 * v, 1e6 * v, before_norm=True)) == 0
    assert len(layer_crossings(mlp, 1e-6 * v, 1e6 * v)) > 100  # without the norm


def test_a_line_of_no_length_crosses_nothing():
    mlp, a = normed("layer", 1.0), draw(3, 7)
    for before_norm in (False, True):
        found = layer_crossings(mlp, a, a, before_norm)
        assert found.counts().tolist() == [[0], [0], [0]]
    assert layer_crossings(mlp, a[:0], a[:0]).counts().shape == (0, 1)


NETWORKS = [("relu", 0.5), ("relu", 0.0), ("leaky_relu", 0.5)]


def assert_network_equals_sampling(network: Network, a: Tensor, b: Tensor, steps: int = 20_000) -> Crossings:
    found = network_crossings(network.affine_layers(), network.gate, a, b)
    widths = [len(bias) for bias in network.biases[:-1]]
    for line in range(len(a)):
        sampled = bit_changes(lambda t, line=line: torch.cat(network.pre(along(a[line], b[line])(t)), 1) > 0, steps)
        for layer, expected in enumerate(sampled.split(widths)):
            assert torch.equal(by_neuron(found, line, layer, widths[layer]), expected), (line, layer)
    return found


@pytest.mark.parametrize(("gate", "bias"), NETWORKS)
def test_every_crossing_through_several_layers_by_dense_sampling(gate: str, bias: float):
    network = make_network(gate, (5, 24, 24, 24, 3), bias)
    a, b = 3 * draw(4, 5, seed=7), 3 * draw(4, 5, seed=8)
    found = assert_network_equals_sampling(network, a, b)
    counts = found.counts()
    assert (counts.sum(0) > 30).all()
    endpoints = sum(((h > 0) != (k > 0)).sum() for h, k in zip(network.pre(a), network.pre(b), strict=True))
    assert len(found) > int(endpoints)  # some cross several times
    at = a[found.line] + found.t[:, None] * (b - a)[found.line]
    h = torch.stack(network.pre(at), 1)[torch.arange(len(found)), found.layer, found.neuron]
    assert h.abs().max() < 1e-12


def test_knots_that_are_not_handed_on_are_noticed(monkeypatch: pytest.MonkeyPatch):
    network = make_network("relu", (5, 24, 24, 24, 3))
    a, b = 3 * draw(4, 5, seed=7), 3 * draw(4, 5, seed=8)
    insert = lines.insert_roots

    def forgetful(knots: Tensor, h: Tensor):
        _, __, neuron, at = insert(knots, h)
        return knots, h, neuron, at

    monkeypatch.setattr(lines, "insert_roots", forgetful)
    with pytest.raises(AssertionError):
        assert_network_equals_sampling(network, a, b)


def test_scaling_the_input_of_a_network_without_biases_crosses_nothing():
    network = make_network("relu", (5, 24, 24, 24, 3), bias=0.0)
    x = draw(10, 5)
    for factor in (1e-3, 0.5, 2.0, 1e3):
        assert len(network_crossings(network.affine_layers(), network.gate, x, factor * x)) == 0
        assert torch.equal(network(factor * x).argmax(1), network(x).argmax(1))


def test_a_neuron_with_a_bias_is_crossed_once_by_scaling():
    x = 2.5
    layer = lambda rows: rows - 1  # noqa: E731  # h = αx − 1
    ends = torch.tensor([[0.0]]).double(), torch.tensor([[x]]).double()  # α from 0 to 1
    found = network_crossings([layer], find_gate("relu"), *ends)
    assert found.t.tolist() == [pytest.approx(1 / x, abs=1e-15)]


def test_a_later_neuron_that_touches_0_is_not_crossed():
    """|x| = relu(x) + relu(−x) touches 0 at 0, and |x| − ¼ crosses it at ±¼."""
    first = torch.tensor([[1.0, -1.0]]).double()
    second = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double()
    bias = torch.tensor([0.0, -0.25]).double()
    ends = torch.tensor([[-1.0], [-0.7]]).double(), torch.tensor([[1.0], [1.9]]).double()
    found = network_crossings([lambda x: x @ first, lambda x: x @ second + bias], find_gate("relu"), *ends)
    assert found.counts().tolist() == [[2, 2], [2, 2]]
    later = found.of_layer(1)
    assert later.neuron.tolist() == [1, 1, 1, 1]
    assert later.t.tolist() == pytest.approx([0.375, 0.625, 0.45 / 2.6, 0.95 / 2.6])


def test_crossings_through_convolutions():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [nn.Conv2d(1, 3, 3), nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 2))]
    layers = [layer.double().requires_grad_(False) for layer in layers]
    a, b = draw(3, 1, 8, 8, seed=1), draw(3, 1, 8, 8, seed=2)
    found = network_crossings(layers, find_gate("relu"), a, b)

    def codes(line: int, t: Tensor) -> Tensor:
        h = layers[0](a[line] + t[:, None, None, None] * (b - a)[line])
        return torch.cat([h.flatten(1), layers[1](h.relu()).flatten(1)], 1) > 0

    for line in range(3):
        sampled = bit_changes(lambda t, line=line: codes(line, t))
        assert torch.equal(by_neuron(found, line, 0, 108), sampled[:108])
        assert torch.equal(by_neuron(found, line, 1, 16), sampled[108:])
    assert found.layers == 2


def test_smooth_gates_have_no_exact_lines_through_several_layers():
    network = make_network("gelu", (5, 8, 8, 3))
    with pytest.raises(UserError, match="gate gelu: lines through several layers are exact for relu and leaky relu"):
        network_crossings(network.affine_layers(), network.gate, draw(1, 5), draw(1, 5, seed=1))


def test_sampling_counts_until_it_no_longer_grows_and_never_too_much():
    network = make_network("relu", (5, 24, 24, 24, 3))
    a, b = 2 * draw(3, 5, seed=7), 2 * draw(3, 5, seed=8)
    exact = network_crossings(network.affine_layers(), network.gate, a, b).counts().sum(1)
    for line in range(3):

        def codes(t: Tensor, line: int = line) -> Tensor:
            return torch.cat(network.pre(along(a[line], b[line])(t)), 1) > 0

        count, points = sampled_crossings(codes)
        assert 0.8 * exact[line] <= count <= exact[line]
        assert points in (33, 65, 129, 257, 513, 1025)
        count, points = sampled_crossings(codes, growth=0.0, most=4_000)
        assert (count, points) == (exact[line], 4_097)


def test_sampling_does_not_see_what_switches_there_and_back_between_points():
    count, points = sampled_crossings(lambda t: ((t > 0.5001) & (t < 0.5003))[:, None])
    assert (count, points) == (0, 33)
    count, points = sampled_crossings(lambda t: (t > 0.3)[:, None])
    assert (count, points) == (1, 33)
