import numpy as np
import pytest
import torch

from analyze.compare.chance import Chance
from analyze.compare.cosines import unit
from analyze.compare.decoder_null import decoder_null
from analyze.compare.directions import ROWS, Features, compare
from analyze.compare.latent_table import NONE
from winnow.dictionary import Dictionary
from winnow.runtime.to_json import to_json


def directions(n, d=32, seed=0):
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


def features(decoder, alive=None):
    one = torch.ones(len(decoder))
    return Features(decoder, decoder, one.bool() if alive is None else alive, one, one)


def scores(a, b):
    return [found.scores for found in compare(a, b)]


def test_a_planted_subset_is_found_both_ways():
    small, extra = directions(40), directions(40, seed=1)
    to_large, to_small = scores(features(small), features(torch.cat([extra, small])))
    assert to_large["mmcs"] == pytest.approx(1, abs=1e-6)
    assert to_large["matched_mean"] == pytest.approx(1, abs=1e-6)
    assert to_large["shared_fraction"] == 1
    assert to_large["mmcs_corrected"] == pytest.approx(1, abs=1e-6)
    assert to_small["shared_fraction"] == 0.5
    assert to_small["mmcs"] < 0.9
    assert to_small["above_chance"] == pytest.approx(0.5, abs=0.05)


def test_unrelated_dictionaries_score_zero_once_chance_is_taken_away():
    forth, back = scores(features(directions(300)), features(directions(600, seed=1)))
    assert forth["mmcs"] == pytest.approx(forth["mmcs_null"], abs=0.02)
    assert forth["mmcs_null"] > back["mmcs_null"]
    assert abs(back["mmcs_corrected"]) < 0.03
    assert forth["shared_fraction"] < 0.01


def test_dead_latents_count_only_where_it_says_so():
    decoder = directions(40)
    alive = torch.arange(40) < 20
    whole, other = features(decoder, alive), features(torch.cat([decoder[:20], directions(20, seed=2)]))
    forth, back = scores(whole, other)
    assert forth["mmcs"] == pytest.approx(1, abs=1e-6)
    assert forth["mmcs_with_dead"] < 0.9
    assert sum(forth["max_cosines"]["counts"]) == 20
    assert sum(back["max_cosines"]["counts"]) == 40
    assert back["max_cosines"]["null"].sum() == pytest.approx(40)


def test_copies_score_high_by_maximum_and_low_by_matching():
    base = directions(10)
    copies = torch.cat([base, base, base])
    forth = scores(features(copies), features(torch.cat([base, directions(30, seed=3)])))[0]
    assert forth["mmcs"] == pytest.approx(1, abs=1e-6)
    assert forth["matched_mean"] < 0.75
    assert forth["matched_above_0.9"] == pytest.approx(1 / 3)


def test_without_a_living_latent_on_either_side_there_is_no_score():
    none = torch.zeros(10, dtype=torch.bool)
    for found in compare(features(directions(10), none), features(directions(10))):
        said = to_json(found.scores)
        assert said.pop("mmcs_with_dead") == pytest.approx(1)
        assert set(said.values()) == {None}, said


def test_without_a_living_latent_to_be_found_in_no_latent_has_a_number():
    none = torch.zeros(10, dtype=torch.bool)
    found = compare(features(directions(10)), features(directions(10), none))[0].features
    assert found.latent.tolist() == [*range(10)]
    assert found.nearest.tolist() == found.match.tolist() == [NONE] * 10
    for column in ("max_cosine", "p", "r2_1", "r2_4", "participation", "match_cosine"):
        assert np.isnan(getattr(found, column)).all(), column


def test_the_isotropic_chance_level_stands_beside_the_decoders_own():
    tall = torch.ones(32)
    tall[0] = 8
    a, b = (unit(torch.randn(200, 32, generator=torch.Generator().manual_seed(seed)) * tall) for seed in (1, 2))
    forth = scores(features(a), features(b))[0]
    chance = Chance(32, 200)
    assert forth["mmcs_null_isotropic"] == chance.mean
    assert forth["mmcs_corrected_isotropic"] == chance.corrected(forth["mmcs"])
    assert forth["mmcs_null"] == decoder_null(a, b).mean > chance.mean + 0.1
    assert forth["max_cosines"]["null"].sum() == pytest.approx(200)


def test_a_dictionary_made_of_anothers_sums_is_explained_far_above_random():
    base = directions(24, d=32)
    sums = unit(base[:12] + base[12:])
    meta = scores(features(sums), features(base))[0]["meta"]
    assert meta["explained"] == pytest.approx(1, abs=1e-3)
    assert meta["random"] < 0.7


def test_latents_measured_on_rows_equal_their_definition():
    decoder = directions(20, 8)
    dictionary = Dictionary(decoder.T.contiguous(), torch.zeros(20), decoder, torch.zeros(8), k=3)
    x = torch.randn(ROWS + 100, 8, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 3, 8)
    f = dictionary.encode(x).double()
    found = Features.on(dictionary, x)
    assert torch.equal(found.decoder, decoder)
    assert torch.equal(found.alive, (f > 0).sum(0) > 10)
    torch.testing.assert_close(found.rates.double(), (f > 0).double().mean(0))
    torch.testing.assert_close(found.scales.double(), f.square().mean(0).sqrt(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("d", "n"), [(8, 64), (8, 128), (16, 256), (16, 512)])
def test_in_few_dimensions_random_directions_compose_nearly_anything_and_that_stands_beside(d, n):
    known = directions(n // 2, d, seed=2)
    for a in (directions(n // 2, d, seed=1), known):
        shares = scores(features(a), features(torch.cat([known, directions(n // 2, d, seed=3)])))[0]["diagnosis"]
        assert 0.85 < shares["random"]["composed"] <= 1
        assert sum(shares["random"][share] for share in ("present", "composed", "absent")) == pytest.approx(1)
        if a is known:
            assert (shares["present"], shares["composed"]) == (1, 0)
        else:  # unrelated directions are composed as much as by chance
            assert shares["composed"] == pytest.approx(shares["random"]["composed"], abs=0.15)


def test_in_many_dimensions_random_directions_compose_nothing():
    shares = scores(features(directions(64, 64)), features(directions(512, 64, seed=1)))[0]["diagnosis"]["random"]
    assert (shares["present"], shares["composed"], shares["absent"]) == (0, 0, 1)
