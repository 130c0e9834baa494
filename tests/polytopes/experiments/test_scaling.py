"""Scaling: what cannot change, boundaries at known factors, and a trained model's numbers."""

from dataclasses import replace

import torch

from polytopes.experiments import scaling
from polytopes.experiments.scaling import later_layers, ray_crossings, variants_of
from polytopes.reading.subject import Subject
from polytopes.scaling.scaled_clusters import NearestMember
from polytopes.scaling.validity import factors
from winnow.config.polytopes import PolytopesSettings, ScalingSettings
from winnow.spline.gates import find_gate
from winnow.spline.mlp import MLP


def settings(*hooks: str, rows: int = 6) -> PolytopesSettings:
    return PolytopesSettings(scaling=ScalingSettings(hooks=list(hooks), rows=rows))


def one_neuron(bias: float) -> MLP:
    W = torch.ones(1, 1)
    return MLP(W, torch.tensor([bias]), W, torch.zeros(1), find_gate("relu"))


def test_a_neuron_is_crossed_where_its_bias_says():
    """h = αx − 1 changes its sign at α = 1/x."""
    alpha = factors(3)
    for x, expected in ((4.0, (1, 0)), (0.5, (0, 1)), (0.1, (0, 0)), (-3.0, (0, 0))):
        assert ray_crossings(one_neuron(-1.0), torch.tensor([x], dtype=torch.float64), alpha) == expected
    assert ray_crossings(one_neuron(0.0), torch.tensor([2.0], dtype=torch.float64), alpha) == (0, 0)


def test_steps_have_equal_lengths_and_the_mean_is_its_own_centre():
    alpha, mean = factors(2), torch.randn(8, generator=torch.Generator().manual_seed(0)).double()
    x, direction = torch.arange(8).double(), torch.ones(8).double()
    scaled, random, about = variants_of(x, alpha, mean, direction)
    torch.testing.assert_close((scaled - x).norm(dim=1), (random - x).norm(dim=1))
    assert torch.equal(scaled[8], x)
    torch.testing.assert_close(random[8], x)
    torch.testing.assert_close(about[8], x)
    torch.testing.assert_close(about - mean, alpha[:, None] * (x - mean))
    torch.testing.assert_close(variants_of(x, alpha, torch.zeros(8).double(), direction)[2], scaled)


def test_without_biases_scaling_what_relu_reads_crosses_nothing_there(relu: Subject):
    """The biases of a GPT-2 start at 0: every boundary goes through the origin."""
    (found,) = scaling.measure(relu, settings("blocks.1.mlp.hook_in"))["hooks"]
    for name in ("up", "down", "sampled_up", "sampled_down"):
        assert found["exact"][name]["max"] == 0
    assert found["crossings"]["up"]["max"] > 0  # of the layer after it, which reads the sum
    assert found["boundaries"] == 2 * 128


def test_with_biases_the_grid_misses_at_most_what_it_cannot_see(embedded: Subject):
    (found,) = scaling.measure(embedded, settings("blocks.3.mlp.hook_in"))["hooks"]
    for way in ("up", "down"):
        exact, sampled = found["exact"][way], found["exact"][f"sampled_{way}"]
        assert exact["median"] > 0
        assert exact == sampled  # a ray crosses each boundary once at most, so a grid finds them all
        assert found["crossings"][way] == sampled  # no layer is later


def test_the_last_norm_takes_scaling_back(embedded: Subject):
    """Only ε is left: neither the output changes, nor is there a layer that could."""
    (found,) = scaling.measure(embedded, settings("blocks.3.hook_resid_post"))["hooks"]
    assert found["kinds"]["scaled"]["hamming"] is None
    assert found["boundaries"] == 0
    assert max(found["kinds"]["scaled"]["kl"]["max"]) < 1e-4
    assert found["kinds"]["scaled"]["top_kept"].min() == 1
    assert found["validity"]["kl"]["at_edge"] == [1, 1]
    assert found["validity"]["kl"]["coverage"]["value"] == 1
    assert max(found["kinds"]["random"]["kl"]["median"]) > 0.1  # the control does change it
    assert max(found["kinds"]["about_mean"]["kl"]["median"]) > 1e-2


def test_a_trained_model_keeps_a_meaning_over_a_range(embedded: Subject):
    hooks = ("blocks.0.hook_resid_post", "blocks.*.mlp.hook_in")
    made = scaling.measure(embedded, settings(*hooks, rows=20))
    assert [entry["hook"] for entry in made["hooks"]] == [hooks[0], *(f"blocks.{n}.mlp.hook_in" for n in range(4))]
    residual, _, read, *_ = made["hooks"]
    assert residual["kinds"]["scaled"]["kl"]["median"][12] == 0
    assert residual["kinds"]["scaled"]["hamming"]["median"][12] == 0
    assert 0.7 < residual["validity"]["kl"]["low"]["median"] < 0.95
    assert 1 <= residual["validity"]["kl"]["high"]["median"] < 1.25
    assert read["validity"]["kl"]["low"]["median"] < residual["validity"]["kl"]["low"]["median"]
    assert read["validity"]["kl"]["coverage"]["value"] > residual["validity"]["kl"]["coverage"]["value"]
    assert residual["validity"]["cluster"] is None
    assert residual["natural"]["clustering"] is None
    assert residual["natural"]["low"]["median"] < 1 < residual["natural"]["high"]["median"]
    assert residual["boundaries"] == 3 * 512
    coverage = residual["validity"]["kl"]["coverage"]
    assert coverage["low"] <= coverage["value"] <= coverage["high"]


def test_later_layers_are_those_that_may_change(embedded: Subject):
    assert later_layers(embedded, "blocks.1.hook_resid_post") == [2, 3]
    assert later_layers(embedded, "blocks.1.mlp.hook_post") == [2, 3]
    assert later_layers(embedded, "blocks.1.mlp.hook_in") == [1, 2, 3]
    assert later_layers(embedded, "blocks.1.hook_resid_pre") == [1, 2, 3]
    assert later_layers(embedded, "hook_embed") == [0, 1, 2, 3]


class _Clustered(Subject):
    """A subject with planted clusters."""

    def clusters(self):
        return {"code:1": (self.pre(1)[:, 0] > self.pre(1)[:, 0].median()).int()}


def test_a_row_stays_with_the_cluster_of_its_nearest_member(embedded: Subject):
    fields = {name: getattr(embedded, name) for name in Subject.__dataclass_fields__}
    subject = _Clustered(**fields)
    nearest = NearestMember.of(subject, 1)
    assert nearest is not None
    assert nearest.hooks == ["blocks.1.mlp.hook_pre"]
    row = 3
    other = int(torch.nonzero(nearest.cluster != nearest.cluster[row])[0])
    twin = replace(nearest, rows=torch.cat([nearest.rows[:row], nearest.rows[row:]]))
    # another member's very row: its cluster is found, and a row is no neighbour of its own
    seen = {"blocks.1.mlp.hook_pre": embedded.pre(1)[[other, other, row]]}
    found = twin.stays(seen, 3, row)
    assert found is not None
    assert found[:2].tolist() == [False, False]
    assert NearestMember.of(embedded, 1) is None
    found = scaling.measure(subject, settings("blocks.0.hook_resid_post", rows=12))["hooks"][0]
    assert found["validity"]["cluster"]["coverage"]["value"] is not None
    assert found["natural"]["clustering"] is None  # layer 0 has no clusters
    of_layer = scaling.measure(subject, settings("blocks.1.hook_resid_post", rows=12))["hooks"][0]
    assert of_layer["natural"]["clustering"] == "code:1"
    assert of_layer["natural"]["in_cluster"] == 12
    assert sum(entry["rows"] for entry in of_layer["natural"]["clusters"]) == 12
