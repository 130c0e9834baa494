"""Gates against transformers' own, their noise against scipy's laws, and their slopes against autograd."""

import math

import pytest
import torch
from scipy import stats
from transformers.activations import ACT2CLS, ACT2FN

from tests.winnow.spline.planted import draw
from winnow.errors import UserError
from winnow.spline import gates
from winnow.spline.gates import find_gate, leaky, swish

NAMES = sorted(gates._GATES)
H = torch.cat([torch.linspace(-9, 9, 4001, dtype=torch.float64), draw(1000)])


def assert_is_the_models(name: str, tolerance: float) -> None:
    """g(h) = h·π(h) must be what transformers computes under that name."""
    gate = find_gate(name)
    assert (gate(H) - ACT2FN[name](H)).abs().max() <= tolerance
    product = H**gate.power * gate.weight(H)
    assert (product - ACT2FN[name](H)).abs().max() <= tolerance


@pytest.mark.parametrize("name", NAMES)
def test_each_gate_is_the_one_that_transformers_has_under_its_name(name: str):
    assert_is_the_models(name, 1e-9)  # gelu_fast rounds √(2/π) to ten digits


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"])
def test_the_normal_law_in_place_of_its_approximation_fails(name: str, monkeypatch: pytest.MonkeyPatch):
    assert_is_the_models(name, 1e-5)
    monkeypatch.setattr(gates, "_tanh_law", gates._normal)
    with pytest.raises(AssertionError):
        assert_is_the_models(name, 1e-5)


def test_the_approximation_is_as_far_from_the_normal_law_as_is_said():
    distance = (find_gate("gelu_new").code(H) - find_gate("gelu").code(H)).abs().max()
    assert 1.7e-4 < distance < 1.8e-4


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("gelu", stats.norm()),
        ("silu", stats.logistic()),
        ("swish", stats.logistic()),
        ("quick_gelu", stats.logistic(scale=1 / 1.702)),
    ],
)
def test_a_soft_code_is_the_probability_that_the_noise_leaves_the_neuron_on(name: str, law):
    expected = torch.from_numpy(law.sf(-H.numpy()))  # P(ε > −h)
    torch.testing.assert_close(find_gate(name).code(H), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_codes_lie_between_off_and_on_and_grow_sharp(name: str):
    gate = find_gate(name)
    code = gate.code(H)
    assert ((code >= 0) & (code <= 1)).all()
    assert ((gate.weight(H) >= 0) & (gate.weight(H) <= 1)).all()
    hard = gate.code(H, sharpness=math.inf)
    assert torch.equal(hard, (H > 0).double())
    assert torch.equal(code, hard) == gate.is_hard
    if not gate.is_hard:
        torch.testing.assert_close(gate.code(H, sharpness=4.0), gate.code(4 * H))
        assert gate.code(torch.zeros(1, dtype=torch.float64)).item() == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_derivatives(name: str):
    h = H.clone().requires_grad_()
    (expected,) = torch.autograd.grad(ACT2FN[name](h).sum(), h)
    found = find_gate(name).slope(H)
    kink = H == 0  # there relu has no derivative
    torch.testing.assert_close(found[~kink], expected[~kink], rtol=1e-9, atol=1e-9)


def test_the_slope_of_gelu_is_no_probability():
    slope = find_gate("gelu").slope(H)
    assert slope.min().item() == pytest.approx(-0.129, abs=1e-3)
    assert slope.max().item() == pytest.approx(1.129, abs=1e-3)


def test_leaky_relu_passes_on_a_share_of_what_is_off():
    h = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    gate = leaky(0.2)
    assert gate(h).tolist() == pytest.approx([-0.4, 0.0, 3.0])
    assert gate.weight(h).tolist() == [0.2, 0.2, 1.0]
    assert gate.code(h).tolist() == [0.0, 0.0, 1.0]
    assert gate.slope(h).tolist() == [0.2, 0.2, 1.0]


def test_swish_of_any_beta():
    h = draw(50)
    torch.testing.assert_close(swish(3.0)(h), h * torch.sigmoid(3 * h))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: find_gate("tanh"), r"gate tanh: it is not of the form h·π\(h\).*gates that have some: relu"),
        (lambda: find_gate("sigmoid"), "gate sigmoid: it is not of the form"),
        (lambda: find_gate("gelu_newt"), "did you mean gelu_new"),
        (lambda: find_gate("mish"), "gate mish: its codes are not known"),
        (lambda: leaky(1.5), r"its slope must lie in \[0, 1\), found 1.5"),
        (lambda: swish(0.0), "swish: beta must be above 0, found 0.0"),
    ],
)
def test_other_gates_are_refused_in_a_line(make, message: str):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(set(ACT2CLS) - set(NAMES)))
def test_every_other_gate_of_transformers_is_refused(name: str):
    with pytest.raises(UserError, match=f"gate {name}: "):
        find_gate(name)
