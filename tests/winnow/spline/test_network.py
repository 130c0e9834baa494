"""Plain networks against torch's modules, and their maps against derivatives and sums over codes."""

from itertools import product

import pytest
import torch
from torch import nn

from tests.winnow.spline.planted import draw, make_network
from winnow.errors import UserError
from winnow.spline.network import Network


def modules(gate: nn.Module, bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(4, 8, bias=bias), gate, nn.Linear(8, 6), gate, nn.Linear(6, 3)]
        return nn.Sequential(*layers).double()


@pytest.mark.parametrize(
    "gate", [nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.GELU("tanh"), nn.SiLU()], ids=lambda gate: str(gate)
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_network_is_the_modules_that_it_was_read_from(gate: nn.Module, bias: bool):
    torch_net, x = modules(gate, bias), draw(5, 4)
    network = Network.of(torch_net)
    with torch.no_grad():
        torch.testing.assert_close(network(x), torch_net(x))
        for h, k in zip(network.pre(x), (0, 2), strict=True):
            torch.testing.assert_close(h, torch_net[: k + 1](x))
        torch.testing.assert_close(network.mlp(1)(network.gate(network.pre(x)[0])), torch_net(x))


@pytest.mark.parametrize("gate", ["relu", "leaky_relu", "gelu", "silu"])
def test_the_maps_of_a_whole_network(gate: str):
    network, x = make_network(gate, (4, 9, 7, 3)), draw(6, 4)
    torch.testing.assert_close(network.affine_map(x)(x), network(x), rtol=1e-11, atol=1e-11)
    tangent = network.affine_map(x, "tangent")
    torch.testing.assert_close(tangent(x), network(x), rtol=1e-11, atol=1e-11)
    for row, A in zip(x, tangent.A, strict=True):
        torch.testing.assert_close(A, torch.autograd.functional.jacobian(network, row).T)
    if network.gate.is_hard:
        torch.testing.assert_close(network.affine_map(x).A, tangent.A)


def test_the_value_map_of_a_chain_is_the_mean_over_independent_codes_of_its_layers():
    network, x = make_network("gelu", (3, 5, 4, 2)), draw(3)
    p = torch.cat([network.gate.code(h) for h in network.pre(x)])
    mean = torch.zeros(3, 2, dtype=torch.float64)
    W0, W1, W2 = network.weights
    for code in product((0.0, 1.0), repeat=9):
        s = torch.tensor(code, dtype=torch.float64)
        mean += torch.where(s > 0, p, 1 - p).prod() * (W0 * s[:5]) @ (W1 * s[5:]) @ W2
    torch.testing.assert_close(network.affine_map(x).A, mean, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)], r"gate tanh: it is not of the form h·π\(h\)"),
        ([nn.Linear(2, 3), nn.Linear(3, 3), nn.ReLU()], "module 1 of the network: expected a gate, found Linear"),
        ([nn.ReLU(), nn.Linear(3, 3)], r"module 0 of the network: expected a Linear, found ReLU\(\)"),
        ([nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1)], "module 1 of the network: Dropout.* is no gate whose codes"),
        ([nn.Linear(2, 3), nn.ReLU()], "must be Linear, gate, …, Linear, all gates alike; found Linear, ReLU"),
        (
            [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.LeakyReLU(), nn.Linear(3, 3)],
            "all gates alike; found Linear, ReLU, Linear, LeakyReLU, Linear",
        ),
    ],
)
def test_modules_of_another_form_are_refused(layers: list[nn.Module], message: str):
    with pytest.raises(UserError, match=message):
        Network.of(nn.Sequential(*layers))


def test_layers_that_a_network_lacks_and_weights_that_do_not_fit_are_refused():
    network = make_network("relu", (4, 9, 7, 3))
    with pytest.raises(UserError, match="layer = 2: the network has hidden layers 0 to 1"):
        network.mlp(2)
    with pytest.raises(UserError, match="at least two affine layers, found 1 weights and 1 biases"):
        Network(network.weights[:1], network.biases[:1], network.gate)
