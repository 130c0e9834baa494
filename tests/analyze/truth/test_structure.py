"""Absorption and splitting, on dictionaries of which it is known what they made of parents and children."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from analyze.truth.scores import against_truth
from tests.analyze.planted import orthogonal, rows_of
from winnow.config.toy import ToySettings
from winnow.dictionary import Dictionary
from winnow.toy.codes import rates
from winnow.toy.data import ToyData
from winnow.toy.trees import parents

# two parents, 0 and 1, with children 2, 3 and 4, 5; 6 and 7 have no family
PARENTS = np.array([-1, -1, 0, 0, 1, 1, -1, -1])
TRUTH = orthogonal(8)


def family_codes(rows: int = 3000) -> Tensor:
    """Draw exclusive children on four fifths of their parent's rows; all magnitudes are 1."""
    random = np.random.default_rng(0)
    found = np.zeros((rows, 8))
    for parent, first in ((0, 2), (1, 4)):
        fires = random.random(rows) < 0.4
        child = random.integers(0, 5, rows)  # 4: none
        found[:, parent] = fires
        for one in (0, 1):
            found[:, first + one] = fires & (child // 2 == one)
    found[:, 6:] = random.random((rows, 2)) < 0.2
    return torch.from_numpy(found).float()


CODES = family_codes()


def dictionary(encoder: Tensor, decoder: Tensor, threshold: float = 0.5) -> Dictionary:
    """Fire where the encoder's product [n_latents, d] with a row is above the threshold."""
    n = len(decoder)
    return Dictionary(encoder.T.contiguous(), torch.full((n,), -threshold), decoder, torch.zeros(32), hook="toy")


def absorbed(children: tuple[int, ...]) -> Dictionary:
    """The true features, but that the latents of these children carry the parent, which is silent where they fire."""
    encoder, decoder = TRUTH.clone(), TRUTH.clone()
    for child in children:
        parent = PARENTS[child]
        decoder[child] = F.normalize(TRUTH[child] + TRUTH[parent], dim=-1)
        encoder[parent] -= TRUTH[child]
    return dictionary(encoder, decoder)


def scores_of(learned: Dictionary, codes: Tensor = CODES, **changes: Any) -> dict[str, Any]:
    alive = torch.ones(learned.n_latents, dtype=torch.bool)
    made = {"truth": TRUTH, "rates": codes.mean(0).double().numpy(), "rows": rows_of(codes, TRUTH), "parents": PARENTS}
    return against_truth(learned, alive, **made | changes)["structure"]


def test_the_true_features_are_neither_absorbed_nor_split() -> None:
    found = scores_of(dictionary(TRUTH, TRUTH))
    assert (found["parents_found"], found["absorption"], found["parents_absorbed"], found["split"]) == (1, 0, 0, 0)
    assert math.isnan(found["pieces"])
    assert found["parents"]["f1"] == found["children"]["mcc"] == pytest.approx(1)


@pytest.mark.parametrize("children", [(2, 3, 4, 5), (2, 3), (2,), (3, 4)])
def test_absorption_is_the_share_of_the_rows_that_were_absorbed(children: tuple[int, ...]) -> None:
    found = scores_of(absorbed(children))
    of_children = CODES.sum(0)
    assert found["absorption"] == pytest.approx(float(of_children[list(children)].sum() / of_children[2:6].sum()))
    shares = [sum(float(of_children[c]) for c in children if PARENTS[c] == p) for p in (0, 1)]
    whole = [float(of_children[2:4].sum()), float(of_children[4:6].sum())]
    assert found["parents_absorbed"] == np.mean([s > 0.5 * w for s, w in zip(shares, whole, strict=True)])
    assert (found["parents_found"], found["split"]) == (1, 0)
    recall = np.mean([1 - s / float(CODES[:, p].sum()) for p, s in enumerate(shares)])
    assert found["parents"]["recall"] == pytest.approx(recall)
    assert found["parents"]["precision"] == found["children"]["f1"] == pytest.approx(1)


def test_a_parent_that_is_silent_for_another_reason_is_not_absorbed() -> None:
    encoder = TRUTH.clone()
    encoder[0] -= TRUTH[2]  # silent where child 2 fires, but nothing carries it there
    found = scores_of(dictionary(encoder, TRUTH))
    assert found["absorption"] == 0
    assert found["parents"]["recall"] < 0.9


def test_a_parent_that_is_there_only_in_its_children_is_split() -> None:
    decoder = TRUTH.clone()
    decoder[2:4] = F.normalize(TRUTH[2:4] + TRUTH[0], dim=-1)
    decoder[0] = orthogonal(9)[8]  # nobody has parent 0 for itself
    encoder = TRUTH.clone()
    encoder[0] = 0
    found = scores_of(dictionary(encoder, decoder))
    assert (found["parents_found"], found["split"], found["pieces"]) == (0.5, 0.5, 2)
    assert found["absorption"] == 0  # of the other parent; this one is not there to be absorbed
    one = decoder.clone()
    one[3] = TRUTH[3]
    assert scores_of(dictionary(encoder, one))["split"] == 0  # a single piece is no split
    both = decoder[[2, 2, 2, 2, 4, 5, 6, 7]]
    assert scores_of(dictionary(TRUTH[[2, 2, 2, 2, 4, 5, 6, 7]], both))["split"] == 0  # nor are copies of one


def test_overlap_of_a_childs_true_direction_with_its_parent_is_not_carrying_it() -> None:
    truth = TRUTH.clone()
    truth[2] = F.normalize(0.5 * TRUTH[0] + TRUTH[2], dim=-1)
    rows = rows_of(CODES, truth)
    dual = torch.linalg.pinv(truth).T  # reads the codes exactly
    perfect = scores_of(dictionary(dual, truth), truth=truth, rows=rows)
    assert perfect["absorption"] == 0
    encoder = dual.clone()
    encoder[0] -= dual[2]
    silent = scores_of(dictionary(encoder, truth), truth=truth, rows=rows)
    assert silent["absorption"] == 0  # the child's latent is the child's true direction


def test_the_best_latent_of_parent_and_child_must_be_two() -> None:
    decoder = torch.cat([F.normalize(TRUTH[:1] + 0.2 * TRUTH[2:3], dim=-1), TRUTH[1:2], TRUTH[3:]])
    found = scores_of(dictionary(decoder, decoder))  # child 2 is nearest to the latent of its parent
    assert found["absorption"] == 0


def test_where_no_parent_is_found_there_is_no_absorption_to_speak_of() -> None:
    found = scores_of(dictionary(TRUTH[4:], TRUTH[4:]))
    assert found["parents_found"] == 0
    assert math.isnan(found["absorption"])


def test_deeper_trees_count_each_parent_with_its_own_children() -> None:
    chain = np.array([-1, 0, 1, -1])
    codes = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]])
    truth = TRUTH[:4]
    decoder, encoder = truth.clone(), truth.clone()
    decoder[2] = F.normalize(truth[1] + truth[2], dim=-1)
    encoder[1] -= truth[2]
    found = against_truth(
        dictionary(encoder, decoder),
        torch.ones(4, dtype=torch.bool),
        truth,
        np.full(4, 0.5),
        rows_of(codes, truth),
        chain,
    )["structure"]
    # of feature 0's three rows with child 1, that child's latent is silent on two, so it takes over none
    assert found["absorption"] == pytest.approx(2 / 5)


def test_toy_data_with_trees_are_scored_by_their_own_parents() -> None:
    toy = ToyData(ToySettings(d_model=64, n_features=60, active=3.0, decay=0.97, common=0.0, roots=6, children=3))
    rows, n = toy.rows(0, 4000), 60
    dual = torch.linalg.pinv(toy.directions).T
    learned = Dictionary(dual.T.contiguous(), torch.full((n,), -1e-3), toy.directions, torch.zeros(64), hook="toy")
    made = against_truth(
        learned, torch.ones(n, dtype=torch.bool), toy.directions, rates(toy.settings), rows, parents(toy.settings)
    )
    found = made["structure"]
    assert (found["parents_found"], found["absorption"], found["split"]) == (1, 0, 0)
    assert made["firing"]["mcc"]["mean"] > 0.99
