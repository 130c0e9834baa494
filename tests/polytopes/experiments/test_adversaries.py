"""Steps from a row of a network whose boundaries are known: what they cross, and what gradient ascent finds."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from polytopes.experiments import adversaries
from polytopes.experiments.adversaries import KINDS, measure_row, summarise
from polytopes.lines import steps
from polytopes.lines.steps import Forward, ascend, kl_from, measure_steps, on_sphere, scale_to_kl, scale_to_path
from polytopes.reading.subject import Subject
from tests.winnow.spline.planted import draw, make_network
from winnow.config.polytopes import AdversarySettings, PolytopesSettings
from winnow.errors import UserError
from winnow.runtime.to_json import to_json
from winnow.spline.network import Network

D = 8


def forward_of(network: Network) -> Forward:
    return lambda x: (network(x), torch.cat(network.pre(x), -1))


def one_neuron(offset: float = -0.1, huge: float = 300.0) -> Forward:
    """A relu neuron that reads x₀ + offset and is multiplied by a huge number, beside a faint linear part."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        h = x[:, :1] + offset
        return torch.cat([h.relu() * huge + x[:, :1] / 10, torch.zeros_like(h)], 1), h

    return forward


def linear(x: Tensor) -> tuple[Tensor, Tensor]:
    """A network whose only neurons are on wherever a step may lead."""
    return x @ draw(D, 5, seed=1), x @ draw(D, 3, seed=2) / 10 + 100


def test_ascent_finds_the_boundary_of_the_one_neuron_that_matters():
    x = torch.zeros(D, dtype=torch.float64)
    step = ascend(one_neuron(), x, 0.3, draw(4, D, seed=3))
    assert step.norm().item() == pytest.approx(0.3)
    assert step[0] > 0.29
    found = measure_steps(one_neuron(), x, step[None])
    assert found.crossings.tolist() == [1]
    random = measure_steps(one_neuron(), x, on_sphere(draw(50, D, seed=4), 0.3))
    assert set(random.crossings.tolist()) == {0, 1}
    assert found.kl.item() > 10 * random.kl.median().item()
    off = random.crossings == 0
    assert random.kl[off].max() < 1e-3
    assert random.kl[~off].min() > 1e-3


def test_a_linear_network_has_no_boundaries():
    x = draw(D, seed=5)
    found, _ = measure_row(linear, x, 0.3, draw(20, D, seed=6), [0])
    assert all(np.nansum(found[kind][:, 2]) == 0 for kind in KINDS)
    summary = summarise([found] * 3, [{"random_at_path": 1.0, "random_at_kl": 1.0}] * 3, np.arange(3), 0)
    assert summary["ratios"]["random"]["crossings"]["value"] is None
    assert summary["spearman"]["value"] is None


def test_crossings_and_path_are_those_of_dense_sampling():
    network = make_network("relu", (D, 16, 16, 4))
    x, ends = draw(D, seed=7), 2 * draw(6, D, seed=8)
    found = measure_steps(forward_of(network), x, ends)
    for number, end in enumerate(ends):
        t = torch.linspace(0, 1, 4001, dtype=torch.float64)
        logits, pre = forward_of(network)(x + t[:, None] * end)
        exact = int(((pre[1:] > 0) != (pre[:-1] > 0)).sum())
        assert exact - 2 <= found.crossings[number] <= exact
        assert found.path[number].item() == pytest.approx(pre.diff(dim=0).norm(dim=1).sum().item(), rel=0.02)
        q0, q = logits[0].softmax(-1), logits[-1].softmax(-1)
        assert found.kl[number].item() == pytest.approx((q0 * (q0 / q).log()).sum().item())
        assert found.flip[number].item() == (logits[0].argmax() != logits[-1].argmax()).item()
    assert found.crossings.sum() > 20


def test_kl_is_exact_for_small_changes_of_large_logits():
    base = draw(50, seed=9).float() * 5
    assert kl_from(base, base[None]).tolist() == [0]
    change = 1e-3 * draw(50, seed=10)
    found = kl_from(base.double(), (base + change)[None])
    q = base.double().softmax(-1)
    assert found.item() == pytest.approx(((q * change**2).sum() - (q * change).sum() ** 2).item() / 2, rel=1e-2)


def test_steps_are_scaled_to_a_way_and_to_a_divergence():
    forward = forward_of(make_network("relu", (D, 16, 16, 4)))
    x, random = draw(D, seed=11), on_sphere(draw(8, D, seed=12), 0.3)
    before = measure_steps(forward, x, random)
    scaled, scale = scale_to_path(forward, x, random, before, 3 * before.path.mean().item())
    torch.testing.assert_close(scaled.path, torch.full((8,), 3 * before.path.mean().item()).double(), rtol=0.02, atol=0)
    assert (scale > 1).all()
    target = 2 * before.kl.max().item()
    longer = scale_to_kl(forward, x, random, target)
    reached = ~longer.isnan()
    assert reached.sum() > 4
    found = measure_steps(forward, x, random[reached] * longer[reached, None])
    torch.testing.assert_close(found.kl, torch.full_like(found.kl, target), rtol=0.05, atol=0)
    assert scale_to_kl(forward, x, random, 1e9).isnan().all()


def test_adversaries_beat_random_steps_of_their_length_and_the_summary_says_so():
    forward = forward_of(make_network("relu", (D, 32, 32, 6)))
    rows, scales = [], []
    others = draw(40, D, seed=13)
    for number in range(12):
        found, longer = measure_row(forward, others[number], 0.3, others, [0, number])
        rows.append(found)
        scales.append(longer)
    summary = summarise(rows, scales, np.arange(12) // 2, 0)
    kinds = summary["kinds"]
    assert kinds["adversary"]["kl"]["value"] > 3 * kinds["random"]["kl"]["value"]
    assert kinds["random_at_path"]["path"]["value"] == pytest.approx(kinds["adversary"]["path"]["value"], rel=0.05)
    kl = np.concatenate([row["random_at_kl"][:, 0] / row["adversary"][0, 0] for row in rows])
    np.testing.assert_allclose(kl[np.isfinite(kl)], 1, rtol=0.1)
    assert kinds["random_at_path"]["scale"] > 1
    assert 0.5 < kinds["random_at_kl"]["reached"] <= 1
    ratio = summary["ratios"]["random"]["crossings"]
    expected = sum(row["adversary"][0, 2] for row in rows) / sum(row["random"][:, 2].mean() for row in rows)
    assert ratio["value"] == pytest.approx(expected)
    assert ratio["low"] < ratio["value"] < ratio["high"]
    assert -1 <= summary["spearman"]["value"] <= 1
    assert len(summary["points"]["adversary"]["kl"]) == 12
    assert len(summary["points"]["random"]["kl"]) == 96


def test_the_same_seed_gives_the_same_numbers_and_another_others():
    forward, others = forward_of(make_network("relu", (D, 16, 4))), draw(40, D, seed=13)
    first, again, other = (measure_row(forward, others[0], 0.3, others, seed)[0] for seed in ([0, 1], [0, 1], [1, 0]))
    for kind in KINDS:
        np.testing.assert_array_equal(first[kind], again[kind])
    assert not np.array_equal(first["random"], other["random"])


def test_steps_with_the_datas_covariance_lie_where_the_data_do():
    seen: list[Tensor] = []

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x.detach())
        return linear(x)

    flat = draw(30, D, seed=14) * torch.tensor([1.0] * 2 + [0.0] * 6)
    measure_row(forward, draw(D, seed=15), 0.3, flat, [0])
    x = draw(D, seed=15)
    ways = [one - x for one in seen if len(one) == adversaries.RANDOM * steps.POINTS]
    assert [bool((way[:, 2:].abs() < 1e-9).all()) for way in ways[:2]] == [False, True]  # random, covariance


def test_more_steps_than_points_are_shown_evenly():
    rows = [{kind: np.full((8, 4), float(number)) for kind in KINDS} for number in range(100)]
    found = summarise(rows, [{"random_at_path": 1.0, "random_at_kl": float("nan")}] * 100, np.arange(100), 0)
    shown = found["points"]["random"]["kl"]
    assert len(shown) == 200
    assert (shown[0], shown[-1]) == (0, 99)
    assert found["kinds"]["random_at_kl"]["scale"] is None


def test_the_experiment_on_a_language_model(embedded: Subject):
    table = AdversarySettings(hooks=["blocks.2.hook_resid_pre", "hook_embed"], relative_norms=[0.1], rows=2)
    settings = PolytopesSettings(adversaries=table)
    found = adversaries.measure(embedded, settings)
    deep, shallow = found["tables"]
    assert (deep["hook"], deep["layers"], deep["rows"]) == ("blocks.2.hook_resid_pre", [2, 3], 2)
    assert shallow["layers"] == [0, 1, 2, 3]
    for one in found["tables"]:
        kinds = one["kinds"]
        assert kinds["adversary"]["kl"]["value"] > 3 * kinds["random"]["kl"]["value"]
        assert kinds["random_at_path"]["path"]["value"] == pytest.approx(kinds["adversary"]["path"]["value"], rel=0.1)
        assert kinds["adversary"]["crossings"]["value"] > 0
        assert len(one["points"]["random"]["crossings"]) == 16
    deep_only = PolytopesSettings(adversaries=AdversarySettings(hooks=[deep["hook"]], relative_norms=[0.1], rows=2))
    assert json.dumps(to_json(adversaries.measure(embedded, deep_only)["tables"])) == json.dumps(to_json([deep]))


def test_hooks_without_a_boundary_behind_them_are_refused(embedded: Subject):
    table = AdversarySettings(hooks=["blocks.3.hook_resid_post"], rows=3)
    with pytest.raises(UserError, match=r"blocks\.3\.hook_resid_post: no boundary lies behind it"):
        adversaries.measure(embedded, PolytopesSettings(adversaries=table))
