"""Massive rows of an evaluation: left out of every figure but `fvu_all_rows`, and not patched."""

from pathlib import Path

import pytest
import torch

from analyze.activations.massive import largest_dimension, massive_rows
from analyze.activations.spectrum import covariance, privileged_basis, spectrum
from analyze.dictionary.baselines import Simpler
from analyze.evaluation.evaluate import evaluate
from analyze.evaluation.massive import is_massive
from analyze.evaluation.quality import Quality
from analyze.evaluation.sample import store_sample
from tests.analyze.evaluation.test_evaluate import VOCAB, WIDTH, Bigram, identity
from tests.massive import DIMENSION, MASSIVE, D, before_norms, stores
from tests.stores import planted
from tests.train.experiments import HOOK
from winnow.massive.kept import kept_rows

LIMIT = 50.0


class Sink(Bigram):
    """The same, but that the first token of every sequence has an activation 1,000 times as large."""

    def activations(self, tokens, hooks):
        return dict.fromkeys(hooks, self._seen(tokens))

    def logits(self, tokens, replace=None):
        x = self._seen(tokens)
        return (replace[1](x) if replace else x) @ self.unembed

    def _seen(self, tokens):
        x = self.embed[tokens].clone()
        x[:, 0] *= 1000
        return x


@pytest.fixture
def tokens():
    return torch.randint(VOCAB, (10, 8), generator=torch.Generator().manual_seed(1), dtype=torch.int32)


@pytest.mark.parametrize("per_batch", [3, 10])
def test_evaluation_is_that_of_the_other_positions(tokens, per_batch):
    everywhere, rest = torch.ones(10, 8, dtype=torch.bool), (torch.arange(8) >= 1).expand(10, 8)
    centres = {"x": torch.full((WIDTH,), 0.1)}
    dictionaries, limits = [identity(0.7)], {"x": LIMIT}
    found = evaluate(Sink(), tokens, everywhere, dictionaries, centres, sequences_per_batch=per_batch, limits=limits)
    expected = evaluate(Sink(), tokens, rest, dictionaries, centres, sequences_per_batch=per_batch)
    assert found[0].loss == expected[0].loss
    for name in ("rows", "fvu", "fvu_uncentred", "fvu_rowwise", "mse", "l0", "alive_fraction", "l0_quantiles"):
        assert getattr(found[0].quality, name) == getattr(expected[0].quality, name), name
    assert torch.equal(found[0].quality.firings, expected[0].quality.firings)
    assert found[0].quality.massive.rows == 10
    with_them = evaluate(Sink(), tokens, everywhere, [identity(0.7)], centres)[0]
    assert found[0].quality.fvu_all_rows == pytest.approx(with_them.quality.fvu, rel=1e-12)
    assert with_them.quality.fvu_all_rows == with_them.quality.fvu != pytest.approx(found[0].quality.fvu, rel=1e-3)
    assert with_them.loss != expected[0].loss


def test_without_massive_rows_a_limit_changes_nothing(tokens):
    kept, centres = torch.ones(10, 8, dtype=torch.bool), {"x": torch.zeros(WIDTH)}
    [limited] = evaluate(Bigram(), tokens, kept, [identity(0.7)], centres, limits={"x": LIMIT})
    [free] = evaluate(Bigram(), tokens, kept, [identity(0.7)], centres)
    assert limited.loss == free.loss
    assert limited.quality.fvu == limited.quality.fvu_all_rows == free.quality.fvu


def test_rows_that_are_all_massive_leave_nothing_to_measure():
    quality = Quality(4, torch.zeros(3), limit=1.0)
    x = torch.full((5, 3), 2.0)
    quality.update(x, torch.ones(5, 4), x)
    assert (quality.rows, quality.massive.rows) == (0, 5)
    assert torch.isnan(torch.tensor(quality.fvu))


def test_what_is_fitted_on_harvested_rows_is_that_of_a_store_without_them(tmp_path: Path):
    whole, less = (kept_rows(store, HOOK, 10) for store in stores(tmp_path))
    for rows in (4096, 20_000):
        assert torch.equal(store_sample(whole, rows), store_sample(less, rows))
    sample, test = store_sample(whole), planted(2000, D, 40, 3, seed=1)[0]
    everything = kept_rows(whole.store, HOOK, 0)
    assert Simpler(sample, test).measure(32, 4) == Simpler(store_sample(less), test).measure(32, 4)
    taken_in = Simpler(store_sample(everything), test).measure(32, 4)
    assert taken_in.pca > 1.02 * Simpler(sample, test).measure(32, 4).pca  # a component is spent on the two rows
    ratios = [spectrum(covariance(store_sample(kept)))["participation_ratio"] for kept in (whole, less, everything)]
    assert ratios[0] == ratios[1] > 2 * ratios[2]
    bases = [privileged_basis(store_sample(kept), torch.Generator().manual_seed(0)) for kept in (whole, less)]
    assert bases[0] == bases[1]


def test_massive_rows_and_the_largest_dimension_are_described(tmp_path: Path):
    store, _ = stores(tmp_path)
    kept = kept_rows(store, HOOK, 10)
    found = massive_rows(kept, 10)
    assert found is not None
    assert (found["rows"], found["left_out"]) == (len(MASSIVE), True)
    largest = largest_dimension(kept, store_sample(kept))
    assert largest is not None
    assert (largest["dimension"], largest["share"] > 0.5, largest["kept_share"] < 0.2) == (DIMENSION, True, True)
    for taken_in in (kept_rows(store, HOOK, 0), kept_rows(before_norms(store), HOOK, 10)):
        named = massive_rows(taken_in, taken_in.bound)
        assert named is not None
        assert (named["rows"], named["left_out"]) == (len(MASSIVE), False)


def test_values_whose_squares_are_no_float32_are_told_by_their_norm():
    x = torch.full((3, 4), 1e20)
    x[1] *= 100
    massive = is_massive(x, 1e21)
    assert massive is not None
    assert massive.tolist() == [False, True, False]
    assert is_massive(x, 1e24) is None
