"""Toy features in trees: who fires with whom, and how often, against what the settings say."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from winnow.config.toy import LEGACY_VALUES, ToySettings
from winnow.toy.codes import rates
from winnow.toy.data import CHUNK_ROWS, ToyData
from winnow.toy.magnitudes import moments, squares
from winnow.toy.trees import chances, levels, parents

TREES = ToySettings(
    d_model=16, n_features=40, active=3.0, decay=0.95, common=0.5, causes=3, roots=4, children=2, depth=2
)


def changed(settings: ToySettings, **changes: Any) -> ToySettings:
    return ToySettings(**{**settings.model_dump(), **changes})


def codes_of(toy: ToySettings, chunks: int = 20) -> torch.Tensor:
    return ToyData(toy).rows(0, chunks * CHUNK_ROWS).codes(toy.n_features)


VARIANTS = [
    {},
    {"siblings": "independent"},
    {"decay_form": "zipf", "zipf_exponent": 0.7},
    {"decay_form": "zipf", "zipf_exponent": 0.5, "siblings": "independent", "scale_by_parent": True, "common": 0.0},
    {"depth": 1, "children": 5, "children_share": 1.0},
    {"decay": 1.0, "children_share": 0.5},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_child_fires_only_where_its_parent_does_and_exclusive_siblings_never_together(changes: dict) -> None:
    toy = changed(TREES, **changes)
    fires = codes_of(toy, 5) > 0
    parent = torch.from_numpy(parents(toy))
    children = torch.nonzero(parent >= 0).squeeze(1)
    assert len(children) == toy.forest.size - toy.roots > 0
    assert fires[:, children].sum(0).min() > 0
    assert not (fires[:, children] & ~fires[:, parent[children]]).any()
    together = 0
    for one in range(toy.forest.parents):
        family = fires[:, torch.nonzero(parent == one).squeeze(1)]
        assert family.shape[1] == toy.children
        together += int((family.sum(1) > 1).sum())
    assert (together > 0) == (toy.siblings == "independent")


@pytest.mark.parametrize("changes", VARIANTS)
def test_features_fire_as_often_as_the_rates_say(changes: dict) -> None:
    toy = changed(TREES, **changes)
    fires = (codes_of(toy) > 0).double()
    expected = torch.from_numpy(rates(toy))
    error = (expected * (1 - expected) / len(fires)).sqrt()
    assert ((fires.mean(0) - expected).abs() < 5 * error).all()
    assert expected.sum().item() == pytest.approx(3.0)
    assert abs(fires.sum(1).mean() - 3.0) < 5 * fires.sum(1).std() / math.sqrt(len(fires))


@pytest.mark.parametrize("siblings", ["exclusive", "independent"])
def test_children_get_what_they_ask_for_up_to_their_share_of_the_parents_rows(siblings: str) -> None:
    toy = changed(TREES, siblings=siblings, decay=0.9, children=3, n_features=60, active=2.0, children_share=0.6)
    found, asked = rates(toy), toy.scale * np.array(toy.mean_before_scale())
    of_parent = chances(toy)
    limited = of_parent.sum(1) if siblings == "exclusive" else of_parent
    assert limited.max() == pytest.approx(0.6)
    assert limited.min() < 0.55
    assert (of_parent > 0).all()
    free = np.flatnonzero(parents(toy) < 0)
    np.testing.assert_allclose(found[free], asked[free])
    for parent in range(toy.forest.parents):
        mine = toy.forest.children_of(parent)
        if siblings == "exclusive":
            part = min(1, 0.6 * found[parent] / asked[mine].sum())
            np.testing.assert_allclose(found[mine], part * asked[mine])
        else:
            np.testing.assert_allclose(found[mine], np.minimum(asked[mine], 0.6 * found[parent]))


def test_zipf_rates_fall_as_a_power_of_the_rank() -> None:
    toy = ToySettings(d_model=16, n_features=500, active=4.0, decay_form="zipf", zipf_exponent=0.8)
    slope = np.polyfit(np.log(np.arange(1, 501)), np.log(rates(toy)), 1)[0]
    assert slope == pytest.approx(-0.8)
    fires = (codes_of(toy, 10) > 0).double().mean(0)
    common = torch.from_numpy(rates(toy))[:20]
    assert ((fires[:20] - common).abs() < 5 * (common * (1 - common) / (10 * CHUNK_ROWS)).sqrt()).all()


def test_trees_are_numbered_level_by_level() -> None:
    assert (
        parents(TREES)[:30].tolist() == [-1] * 4 + [0, 0, 1, 1, 2, 2, 3, 3] + [i // 2 + 4 for i in range(16)] + [-1] * 2
    )
    assert levels(TREES).tolist() == [0] * 4 + [1] * 8 + [2] * 16 + [0] * 12
    assert (TREES.forest.parents, TREES.forest.size) == (12, 28)


@pytest.mark.parametrize("magnitude", ["uniform", "normal"])
def test_a_child_is_as_strong_as_its_parent_where_that_is_asked_for(magnitude: str) -> None:
    toy = changed(TREES, magnitude=magnitude, scale_by_parent=True, decay=1.0)
    found, alone = codes_of(toy).double(), codes_of(changed(toy, scale_by_parent=False)).double()
    parent, level = parents(toy), levels(toy)
    assert torch.equal(found > 0, alone > 0)
    assert torch.equal(found[:, level == 0], alone[:, level == 0])
    for child in np.flatnonzero(parent >= 0):
        on = found[:, child] > 0
        expected = alone[on, child] * found[on, parent[child]] / moments(toy)[0]
        torch.testing.assert_close(found[on, child], expected, rtol=1e-5, atol=1e-7)
    for depth in (0, 1, 2):
        values = found[:, level == depth]
        values = values[values > 0]
        assert values.mean().item() == pytest.approx(moments(toy)[0], rel=0.03)
        assert values.square().mean().item() == pytest.approx(squares(toy)[level == depth][0], rel=0.06)


def test_normal_magnitudes_have_their_moments() -> None:
    for spread in (0.1, 0.8):
        toy = changed(TREES, magnitude="normal", magnitude_spread=spread)
        values = ToyData(toy).rows(0, 5 * CHUNK_ROWS).magnitudes.double()
        assert values.mean().item() == pytest.approx(moments(toy)[0], abs=0.01)
        assert values.square().mean().item() == pytest.approx(moments(toy)[1], abs=0.02)


def test_rows_do_not_depend_on_how_they_are_cut_and_features_ascend() -> None:
    toy = changed(TREES, siblings="independent", scale_by_parent=True)
    whole = ToyData(toy).rows(0, 2 * CHUNK_ROWS)
    part = ToyData(toy).rows(CHUNK_ROWS - 3, CHUNK_ROWS + 4)
    assert torch.equal(part.activations, whole.activations[CHUNK_ROWS - 3 : CHUNK_ROWS + 4])
    for row in range(200):
        entries = whole.features[whole.offsets[row] : whole.offsets[row + 1]]
        assert torch.equal(entries, entries.unique())
    torch.testing.assert_close(whole.activations, whole.codes(40) @ ToyData(toy).directions, rtol=1e-5, atol=1e-5)


def test_without_trees_everything_is_as_before_there_were_any() -> None:
    """Hashes of what e1e5eee and its successors drew, before these settings existed."""
    before: list[tuple[dict[str, Any], str]] = [
        ({}, "e69ca6a02dd3a242"),
        ({"decay_form": "power"}, "36b2c2051ed7d9e1"),
        ({"d_model": 16, "n_features": 24, "active": 3.0, "decay": 0.9}, "3374a163c1bfbe0c"),
    ]
    for changes, expected in before:
        toy = ToySettings(**changes)
        rows = ToyData(toy).rows(0, 9000)
        digest = hashlib.sha256(rows.features.numpy().tobytes() + rows.magnitudes.numpy().tobytes())
        assert digest.hexdigest()[:16] == expected
        assert not set(toy.of_the_rows()) & set(LEGACY_VALUES)
    assert {name: ToySettings.model_fields[name].default for name in LEGACY_VALUES} == LEGACY_VALUES
    assert changed(TREES, siblings="independent").of_the_rows()["siblings"] == "independent"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roots": 20}, "with 2 children each and depth 2 the trees have 140 features, more than n_features = 40"),
        ({"decay_form": "power"}, "trees need decay_form = geometric or zipf"),
        ({"roots": 0}, "children = 2 has a meaning only with roots; remove either"),
        ({"zipf_exponent": 0.5}, "zipf_exponent = 0.5 has a meaning only with decay_form = zipf"),
        ({"magnitude_spread": 0.5}, "magnitude_spread = 0.5 has a meaning only with magnitude = normal"),
        ({"active": 9.0}, r"active = 9: with decay 0.95 \(geometric\) at most 5.62 of 40 features"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        changed(TREES, **changes)
