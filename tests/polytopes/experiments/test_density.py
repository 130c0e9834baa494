"""Density within labels and between them: planted boundaries, controls that must hold 1, and a trained model's R."""

import pytest
import torch

from polytopes.experiments import density
from polytopes.lines import through
from polytopes.lines.crossed import count_crossings
from polytopes.lines.pairs import draw_pairs, permuted
from polytopes.reading.subject import Subject
from tests.polytopes.planted import Planted, generator, layer_of
from winnow.config.polytopes import DensitySettings, PolytopesSettings
from winnow.spline.density import density_ratio, match_lengths
from winnow.spline.lines import layer_crossings

SETTINGS = PolytopesSettings(density=DensitySettings(labels=["prediction"], pairs=800))
CELLS = 6  # to a side of the square that planted rows lie in


def square(rows: int = 900) -> torch.Tensor:
    return CELLS * torch.rand(rows, 2, generator=torch.Generator().manual_seed(0))


def cells(x: torch.Tensor) -> torch.Tensor:
    """Labels that are unit squares, a chessboard of 36 meanings."""
    return x[:, 0].long() + CELLS * x[:, 1].long()


def isotropic(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Boundaries that lie as densely everywhere, in every direction."""
    draw = torch.Generator().manual_seed(1)
    angle = torch.rand(n, generator=draw) * torch.pi
    return torch.stack([angle.cos(), angle.sin()], 1), 20 * torch.rand(n, generator=draw) - 10


def between_cells() -> tuple[torch.Tensor, torch.Tensor]:
    """Boundaries along the edges of the squares, ten to an edge."""
    edges = torch.arange(1.0, CELLS).repeat(10)
    normals = torch.cat(
        [torch.tensor([[1.0, 0.0]]).repeat(len(edges), 1), torch.tensor([[0.0, 1.0]]).repeat(len(edges), 1)]
    )
    return normals, edges.repeat(2)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted rows have no layers behind theirs."""
    monkeypatch.setattr(density, "lines_through", lambda *_: None)


def layer(found: dict) -> dict:
    return found["labels"][0]["layers"][0]


@pytest.mark.usefixtures("no_model")
def test_boundaries_that_know_no_labels_have_ratio_one():
    x = square()
    found = layer(density.measure(Planted(x, cells(x), layer_of(*isotropic())), SETTINGS))
    for name in ("ratio", "permuted"):
        assert found["crossings"][name]["low"] < 1 < found["crossings"][name]["high"], name
    assert found["crossings"]["ratio"]["length_ratio"] == pytest.approx(1, abs=0.02)
    assert found["crossings"]["random"]["low"] < 1.05 > found["crossings"]["random"]["value"] - 0.05
    assert found["full_share"] == 1  # of relu


@pytest.mark.usefixtures("no_model")
def test_boundaries_between_labels_are_found():
    x = square()
    normals, offsets = (torch.cat(two) for two in zip(isotropic(), between_cells(), strict=True))
    found = layer(density.measure(Planted(x, cells(x), layer_of(normals, offsets)), SETTINGS))
    assert found["crossings"]["ratio"]["low"] > 1.2
    assert found["crossings"]["permuted"]["low"] < 1 < found["crossings"]["permuted"]["high"]
    densities = found["crossings"]["density"]
    assert densities["different"]["low"] > densities["same"]["high"]
    assert found["crossings"]["ratio"] == pytest.approx(found["soft"]["ratio"])  # of relu they are the same


def test_pairs_are_of_two_sequences_and_two_tokens(embedded: Subject):
    rows = embedded.rows
    pairs = draw_pairs(rows, "prediction", rows.prediction, 300, generator())
    sequence, token = rows.places.sequence, rows.token
    for kind, equal in ((pairs.same, True), (pairs.different, False)):
        first, second = kind.first, kind.second
        assert ((rows.prediction[first] == rows.prediction[second]) == equal).all()
        assert (sequence[first] != sequence[second]).all()
        assert (token[first] != token[second]).all()
        assert torch.equal(kind.label, rows.prediction[first].long())
    assert len(pairs.same) <= 300 < len(pairs.different)
    assert pairs.same.label.bincount().max() <= 40
    assert len({*zip(pairs.same.first.tolist(), pairs.same.second.tolist(), strict=True)}) == len(pairs.same)
    by_token = draw_pairs(rows, "token", rows.token, 300, generator())
    assert torch.equal(token[by_token.same.first], token[by_token.same.second])


def test_permuted_labels_are_as_frequent(embedded: Subject):
    labels = embedded.rows.prediction
    other = permuted(labels, generator())
    assert torch.equal(other.sort().values, labels.sort().values)
    assert (other != labels).any()


def test_counts_are_those_of_the_list_of_crossings(embedded: Subject):
    for number, before_norm in ((1, True), (2, False)):
        mlp = embedded.mlp(number)
        x = embedded.residual(number) if before_norm else embedded.hook_input(number)
        expected = layer_crossings(mlp, x[:300], x[50:350], before_norm).counts()[:, 0]
        assert torch.equal(count_crossings(mlp, x[:300], x[50:350], before_norm), expected)
        assert expected.max() > 20


@pytest.fixture(scope="module")
def made(embedded: Subject) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(through, "LINES", 4)
        return density.measure(embedded, SETTINGS)["labels"][0]


def test_a_trained_model_has_slightly_denser_boundaries_between_predictions(made: dict):
    assert made["classes"] > 10
    for entry in made["layers"]:
        assert entry["before_norm"]
        assert 0.9 < entry["crossings"]["ratio"]["value"] < 1.3
        assert entry["crossings"]["permuted"]["value"] == pytest.approx(1, abs=0.1)
        assert entry["crossings"]["untrained"]["value"] == pytest.approx(1, abs=0.1)
        assert entry["crossings"]["random"]["value"] < 1.05  # boundaries gather where the data go
    assert [entry and entry["boundaries"] for entry in made["through"]] == [3 * 512, 2 * 512, 512, None]
    same, different = (made["layers"][2]["crossings"]["density"][name] for name in ("same", "different"))
    assert same["low"] < same["value"] < same["high"]
    assert different["value"] / same["value"] == pytest.approx(made["layers"][2]["crossings"]["ratio"]["value"])


def test_the_ratio_is_the_librarys(embedded: Subject, made: dict):
    x, rows = embedded.residual(2), embedded.rows
    pairs = draw_pairs(rows, "prediction", rows.prediction, 800, embedded.random("density", "prediction"))
    mlp = embedded.mlp(2)
    same = layer_crossings(mlp, x[pairs.same.first], x[pairs.same.second], True)
    length = (x[pairs.different.first].double() - x[pairs.different.second].double()).norm(dim=1)
    chosen = match_lengths(same.length, length)
    ends = (x[pairs.different.first[chosen]], x[pairs.different.second[chosen]])
    different = layer_crossings(mlp, *ends, True)
    densities = same.density()[:, 0], different.density()[:, 0]
    expected = density_ratio(densities[0], same.length, densities[1], different.length, pairs.same.label, 0)
    found = made["layers"][2]["crossings"]["ratio"]
    assert found["value"] == pytest.approx(expected.ratio, rel=1e-6)
