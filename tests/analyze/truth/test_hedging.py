"""The hedging score is 0 for true features, 1 for the best lone latents, and falls with the size of dictionaries."""

import pytest
import torch
from torch.nn import functional as F

from analyze.truth.hedging import companions, hedging
from tests.analyze.planted import directions, orthogonal, tied
from tests.analyze.truth.test_scores import codes, everything, rows_of

TRUTH = orthogonal(8)


def families(rows: int = 4000) -> torch.Tensor:
    """Draw codes in which each odd feature fires only with the one before it, half of the time."""
    drawn = codes(rows)
    drawn[:, 1::2] *= (drawn[:, 0::2] > 0) & (torch.rand(rows, 4, generator=torch.Generator().manual_seed(3)) < 0.5)
    return drawn


def test_companions_are_what_comes_with_a_feature() -> None:
    c = families()
    found = companions(TRUTH, rows_of(c, TRUTH))
    centred = (c - c.mean(0)).double()
    slopes = centred.T @ centred / centred.square().sum(0).unsqueeze(1)  # of feature h on feature g
    expected = (slopes - torch.eye(8)) @ TRUTH.double()
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-3)
    assert float(found[0] @ TRUTH[1]) > 0.1  # a child comes with its parent
    assert float(found[0] @ TRUTH[2]) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_score_is_the_share_of_the_companions_that_latents_take_up(share: float) -> None:
    beside = companions(TRUTH, rows_of(families(), TRUTH))
    hedged = F.normalize(TRUTH + share * beside, dim=1)
    found = hedging(tied(hedged), everything(8), TRUTH, beside)
    assert found.score == pytest.approx(share, abs=1e-4)
    assert found.to_hedge == pytest.approx(float(beside.norm(dim=1).mean()))
    assert found.latents == 1


def test_other_errors_are_no_hedging() -> None:
    truth = directions(64, 32)
    generator = torch.Generator().manual_seed(5)
    beside = companions(truth, rows_of(codes(4000, 64, 0.1), truth))
    noisy = F.normalize(truth + 0.1 * torch.randn(64, 32, generator=generator), dim=1)
    found = hedging(tied(noisy), everything(64), truth, beside)
    assert found.score == pytest.approx(0, abs=0.3)
    opposite = hedging(
        tied(F.normalize(TRUTH, dim=1) @ orthogonal(32)),
        everything(8),
        TRUTH,
        companions(TRUTH, rows_of(codes(), TRUTH)),
    )
    assert opposite.latents < 1


def test_nothing_alive_has_no_score() -> None:
    beside = companions(TRUTH, rows_of(codes(), TRUTH))
    assert hedging(tied(TRUTH), ~everything(8), TRUTH, beside) == (None, None, 0.0)
    assert hedging(tied(TRUTH), everything(8), TRUTH, torch.zeros(8, 32)).score is None
