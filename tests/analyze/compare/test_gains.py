"""The gains are the joint least-squares solution, however they are computed."""

import pytest
import torch

from analyze.compare import gains
from analyze.compare.gains import refit
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied


def shrunken(n=48, seed=0, bias=-0.3):
    """A relu dictionary of overlapping directions, more than dimensions, whose values are all too small."""
    dictionary = tied(directions(n, seed=seed))
    dictionary.b_enc.data += bias
    return dictionary


def by_lstsq(dictionary, rows):
    """Solve for gains and constant with every row and dimension as an equation, in float64."""
    f, W = dictionary.encode(rows).double(), dictionary.W_dec.double()
    parts = f[:, :, None] * W  # (row, latent, d)
    constant = torch.eye(W.shape[1]).double().expand(len(rows), -1, -1)
    unknowns = torch.cat([parts, constant], dim=1).permute(0, 2, 1).reshape(-1, len(W) + W.shape[1])
    solution = torch.linalg.lstsq(unknowns, rows.double().reshape(-1, 1)).solution[:, 0]
    return solution[: len(W)], solution[len(W) :]


@pytest.mark.parametrize("dense", [0, 4096**2])
def test_gains_and_constant_are_the_least_squares_solution(dense, monkeypatch):
    monkeypatch.setattr(gains, "CLOSE", 1e-7)
    dictionary, rows = shrunken(), sparse_rows(directions(40, seed=1), 400) + 0.5
    expected, constant = by_lstsq(dictionary, rows)
    found = refit(dictionary, rows, dense, cells=48 * 100)
    assert found.fitted.all()
    torch.testing.assert_close(found.gains, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.constant, constant, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dense", [0, 4096**2])
def test_the_error_is_orthogonal_to_what_every_latent_contributes(dense):
    dictionary, rows = shrunken(), sparse_rows(directions(40, seed=1), 1000)
    found, f = refit(dictionary, rows, dense), dictionary.encode(rows)
    error = rows - found.reconstruct(dictionary, f)
    own = (f * (error @ dictionary.W_dec.T)).sum(0)
    assert ((own / f.square().sum(0)).abs() < 2 * gains.CLOSE).all()
    assert error.mean(0).abs().max() < 1e-5
    assert error.square().sum() < 0.9 * (rows - dictionary(rows)).square().sum()


def test_orthogonal_latents_get_the_factor_that_they_are_too_small_by():
    features = orthogonal(6)
    found = refit(tied(features, gain=0.5), sparse_rows(features))
    torch.testing.assert_close(found.gains, 2 * torch.ones(6, dtype=torch.float64), rtol=0, atol=5e-3)


@pytest.mark.parametrize("dense", [0, 4096**2])
def test_a_latent_that_never_fires_keeps_its_scale_and_two_that_fire_alike_share(dense):
    dictionary = tied(orthogonal(4)[[0, 1, 2, 2]], gain=1.0)
    dictionary.b_enc.data[0] = -100
    found = refit(dictionary, sparse_rows(orthogonal(4)), dense)
    assert found.fitted.tolist() == [False, True, True, True]
    assert found.gains.tolist() == pytest.approx([1, 1, 0.5, 0.5], abs=5e-3)


def test_codes_beyond_what_is_held_leave_rows_out_evenly(monkeypatch):
    features = orthogonal(6)
    dictionary, rows = tied(features, gain=0.5), sparse_rows(features)
    codes = int((dictionary.encode(rows) != 0).sum())
    monkeypatch.setattr(gains, "CODES", codes * 0.7)
    encoded = []
    encode = dictionary.encode
    monkeypatch.setattr(dictionary, "encode", lambda x: encoded.append(x) or encode(x))
    refit(dictionary, rows, dense=0)
    assert torch.equal(torch.cat(encoded[1:]), rows[::2])
