import numpy as np
import pytest
import torch

from analyze.compare.functional import functional_agreement
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied


def test_equals_a_naive_reference():
    a, b = tied(directions(20)), tied(directions(30, seed=1))
    rows = sparse_rows(directions(40, seed=2), 300)
    first, second = torch.arange(20), torch.arange(20) + 5
    found = functional_agreement(a, b, rows, (first, second), cells=640)
    f, g = a.encode(rows).double().numpy(), b.encode(rows).double().numpy()
    for p, (i, j) in enumerate(zip(first, second, strict=True)):
        x, y = f[:, i], g[:, j]
        assert found.correlation[p] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)
        assert found.jaccard[p] == pytest.approx(((x > 0) & (y > 0)).sum() / ((x > 0) | (y > 0)).sum())
        on = y > 0
        masked = (x[on] * y[on]).sum() / np.sqrt((x[on] ** 2).sum() * (y[on] ** 2).sum())
        assert found.masked_to_b[p] == pytest.approx(masked, rel=1e-5)


def test_a_copy_agrees_fully():
    a = tied(orthogonal(8))
    every = torch.arange(8)
    found = functional_agreement(a, a, sparse_rows(orthogonal(8)), (every, every))
    for values in found[:4]:
        torch.testing.assert_close(values, torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-6)


def test_equal_directions_that_fire_differently_are_told_apart():
    features = orthogonal(2)
    narrow = tied(features[:1])
    narrow.b_enc.data -= 1.5  # fires only on the stronger half
    found = functional_agreement(
        tied(features[:1]), narrow, sparse_rows(features), (torch.tensor([0]), torch.tensor([0]))
    )
    assert found.jaccard.item() == pytest.approx(0.5, abs=0.08)
    assert found.masked_to_b.item() > found.masked_to_a.item()


def test_the_masked_cosine_points_from_parent_to_child():
    features = orthogonal(3)
    parent = tied((features[:1] + features[1:2]) / 2**0.5)  # fires for both children
    rows = sparse_rows(features, 4000, rate=0.05)
    found = functional_agreement(parent, tied(features), rows, (torch.tensor([0]), torch.tensor([0])))
    assert found.masked_to_b.item() > 0.95
    assert found.masked_to_a.item() < 0.8


def test_a_latent_that_never_fires_agrees_with_nothing():
    a = tied(orthogonal(2))
    a.b_enc.data -= 100
    found = functional_agreement(a, a, sparse_rows(orthogonal(2)), (torch.tensor([0]), torch.tensor([1])))
    assert torch.isnan(torch.stack(list(found))).all()


def test_dense_latents_that_have_nothing_to_do_with_each_other_agree_as_by_chance():
    features = orthogonal(6)
    rows = sparse_rows(features, 20_000, rate=0.6)
    found = functional_agreement(tied(features[:3]), tied(features[3:]), rows, (torch.arange(3), torch.arange(3)))
    assert found.jaccard.min() > 0.4
    assert found.masked_to_b.min() > 0.5
    for name in ("jaccard", "masked_to_b", "masked_to_a"):
        torch.testing.assert_close(getattr(found, f"{name}_null"), getattr(found, name), rtol=0.03, atol=0)


def test_turned_exchanges_the_sides():
    a, b = tied(directions(6)), tied(directions(6, seed=1))
    b.b_enc.data -= 0.3
    rows, every = sparse_rows(directions(20, seed=2), 500), torch.arange(6)
    forth, back = functional_agreement(a, b, rows, (every, every)), functional_agreement(b, a, rows, (every, every))
    for values, expected in zip(forth.turned(), back, strict=True):
        torch.testing.assert_close(values, expected)
    assert not torch.equal(forth.masked_to_a_null, forth.masked_to_b_null)
