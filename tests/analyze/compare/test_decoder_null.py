import numpy as np
import pytest
import torch

from analyze.compare.chance import Chance
from analyze.compare.cosines import max_cosines, unit
from analyze.compare.decoder_null import DRAWS, DecoderNull, decoder_null, draw_like


def directions(n, spread, seed):
    """Draw unit directions of which dimension i holds about as much as `spread[i]` says."""
    return unit(torch.randn(n, len(spread), generator=torch.Generator().manual_seed(seed)) * spread.sqrt())


def below(a, b):
    """Look up A in B: MMCS, and the p of every latent."""
    m = max_cosines(a, b)[0].double().numpy()
    return float(m.mean()), decoder_null(a, b).p_value(m)


ISOTROPIC = torch.ones(32)
STEEP = 1 / torch.arange(1.0, 33)
ONE_AXIS = torch.tensor([40.0, *[1.0] * 31])  # half of the square on one axis


@pytest.mark.parametrize("spread", [ISOTROPIC, STEEP, ONE_AXIS], ids=["isotropic", "steep", "one axis"])
def test_draws_have_the_second_moment_of_the_directions_and_length_1(spread):
    a = directions(400, spread, 1)
    drawn = draw_like(a, 40_000)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(40_000))
    moment, found = ((x.T @ x / len(x)).double() for x in (a, drawn))
    assert (found - moment).norm() < 0.03 * moment.norm()  # 0.025 is what 40,000 draws of isotropic vectors miss it by
    assert torch.linalg.eigvalsh(found)[-1].item() == pytest.approx(torch.linalg.eigvalsh(moment)[-1].item(), rel=0.01)


@pytest.mark.parametrize("spread", [ISOTROPIC, STEEP, ONE_AXIS], ids=["isotropic", "steep", "one axis"])
@pytest.mark.parametrize(("n_a", "n_b"), [(800, 800), (800, 200), (200, 800)])
def test_dictionaries_that_share_nothing_but_their_second_moment_are_at_chance(spread, n_a, n_b):
    a, b = directions(n_a, spread, 1), directions(n_b, spread, 2)
    mmcs, p = below(a, b)
    assert decoder_null(a, b).corrected(mmcs) == pytest.approx(0, abs=0.03)
    assert (p < 0.01).mean() <= 0.02
    if spread is not ISOTROPIC:  # the control: uniform random directions take the second moment for features
        assert Chance(32, n_b).corrected(mmcs) > 0.1


def test_without_anisotropy_it_is_the_closed_form():
    a, b = directions(2000, ISOTROPIC, 1), directions(500, ISOTROPIC, 2)
    null, closed, m = decoder_null(a, b), Chance(32, 500), np.linspace(0.3, 0.8, 11)
    assert null.mean == pytest.approx(closed.mean, abs=0.005)
    np.testing.assert_allclose(null.p_value(m), closed.p_value(m), atol=0.02)


def test_latents_that_are_there_are_told_from_chance_even_where_they_are_orthogonal():
    a = torch.eye(32)[:24]
    b = unit(a + 0.1 * torch.randn(24, 32, generator=torch.Generator().manual_seed(0)))
    mmcs, p = below(a, b)
    assert decoder_null(a, b).corrected(mmcs) > 0.5
    assert (p < 0.01).all()


def test_p_counts_the_latent_itself_among_the_draws():
    null = DecoderNull(np.array([0.1, 0.2, 0.2, 0.4]))
    np.testing.assert_allclose(null.p_value(np.array([0.5, 0.4, 0.2, 0.05])), [1 / 5, 2 / 5, 4 / 5, 1])


def test_no_p_is_below_what_ten_thousand_draws_can_tell():
    a = directions(50, STEEP, 1)
    assert DRAWS >= 10_000
    assert below(a, a)[1].min() == 1 / (DRAWS + 1)


def test_the_same_dictionaries_give_the_same_null_whatever_was_drawn_before():
    a, b = directions(50, STEEP, 1), directions(60, STEEP, 2)
    first = decoder_null(a, b).maxima
    torch.rand(3)
    assert np.array_equal(first, decoder_null(a, b).maxima)


def test_fewer_latents_than_dimensions_are_drawn_within_their_span():
    a = directions(5, ISOTROPIC, 1)
    drawn = draw_like(a, 1000)
    within = drawn @ torch.linalg.pinv(a) @ a
    torch.testing.assert_close(within, drawn, atol=1e-3, rtol=0)


def test_expected_counts_sum_to_the_number_of_features():
    counts = decoder_null(directions(50, STEEP, 1), directions(60, STEEP, 2)).expected_counts(np.linspace(-1, 1, 41), 7)
    assert counts.sum() == pytest.approx(7)


def test_of_nothing_or_in_nothing_there_is_no_chance():
    some, none = directions(5, ISOTROPIC, 1), torch.empty(0, 32)
    for null in (decoder_null(some, none), decoder_null(none, some), decoder_null(none, none)):
        assert np.isnan([null.mean, null.corrected(0.5), *null.p_value(np.ones(2))]).all()
        assert np.isnan(null.expected_counts(np.linspace(-1, 1, 3), 5)).all()
