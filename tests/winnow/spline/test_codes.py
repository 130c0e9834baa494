"""Packed codes, their distances against brute force, and how soft codes are in closed form."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.winnow.spline.planted import draw, make_mlp
from winnow.errors import UserError
from winnow.spline.codes import bits, hamming, jaccard, l1, pack, softness, unpack


def codes(rows: int = 9, n: int = 21, seed: int = 0) -> Tensor:
    on = draw(rows, n, seed=seed) > 0.5
    on[3] = False
    return on


@pytest.mark.parametrize("n", [1, 7, 8, 21, 64])
def test_unpacking_gives_what_was_packed(n: int):
    on = draw(4, 5, n) > 0
    packed = pack(on)
    assert packed.shape == (4, 5, -(-n // 8))
    assert torch.equal(unpack(packed, n), on)
    assert np.array_equal(packed.numpy(), np.packbits(on.numpy(), axis=-1))


def test_codes_of_another_number_of_neurons_are_not_unpacked():
    with pytest.raises(UserError, match=r"packed codes of 30 neurons have 4 bytes each, found shape \[9, 3\]"):
        unpack(pack(codes()), 30)


def brute(one: Tensor, two: Tensor, distance) -> Tensor:
    sets = [[set(np.flatnonzero(code)) for code in codes] for codes in (one, two)]
    return torch.tensor([[distance(s, t) for t in sets[1]] for s in sets[0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("found", "distance"),
    [
        (hamming, lambda s, t: len(s ^ t)),
        (jaccard, lambda s, t: len(s ^ t) / len(s | t) if s | t else 0.0),
    ],
)
def test_distances_equal_those_of_sets(found, distance):
    one, two = codes(), codes(5, seed=1)
    torch.testing.assert_close(found(one, two), brute(one, two, distance), rtol=1e-12, atol=0)
    own = found(one)
    torch.testing.assert_close(own, brute(one, one, distance), rtol=1e-12, atol=0)
    assert torch.equal(own, own.T)
    assert (own.diagonal() == 0).all()


def test_soft_distances_of_hard_codes_are_hamming_distances():
    torch.testing.assert_close(l1(codes().double()), hamming(codes()))
    p, q = draw(4, 6).sigmoid(), draw(3, 6, seed=1).sigmoid()
    torch.testing.assert_close(l1(p, q), (p[:, None] - q).abs().sum(-1))


def test_bits_of_a_neuron_that_is_on_with_probability_p():
    p = torch.tensor([0.0, 0.5, 1.0, 0.11], dtype=torch.float64)
    assert bits(p).tolist() == pytest.approx([0.0, 1.0, 0.0, 0.4999], abs=1e-4)


def test_relu_has_no_soft_bits_and_its_code_says_all():
    u = draw(200, 7)
    found = softness(make_mlp("relu"), u)
    assert found.bits == 0
    assert found.undecided == 0
    assert found.hard_fvu == 0


def test_softness_of_gelu_by_its_definition():
    mlp, u = make_mlp("gelu"), draw(300, 7, seed=9)
    h = u @ mlp.W_in + mlp.b_in
    p = torch.special.ndtr(h)
    entropy = -(p * p.log2() + (1 - p) * (1 - p).log2())
    y = torch.nn.functional.gelu(h) @ mlp.W_out
    hard = torch.relu(h) @ mlp.W_out
    found = softness(mlp, u)
    assert found.bits == pytest.approx(entropy.mean().item(), rel=1e-9)
    assert found.undecided == pytest.approx(((p > 0.1) & (p < 0.9)).double().mean().item())
    assert 0.3 < found.undecided < 1
    torch.testing.assert_close(found.on_rate, (h > 0).double().mean(0))
    fvu = ((hard - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
    assert found.hard_fvu == pytest.approx(fvu.item(), rel=1e-9)


def test_a_gated_layer_has_codes_and_no_hard_map():
    found = softness(make_mlp("silu", gated=True), draw(50, 7))
    assert found.hard_fvu is None
    assert found.bits > 0.1
