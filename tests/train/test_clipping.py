"""A step's gradient is shortened to the norm that was asked for, each dictionary's by itself."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.experiments import HOOK, KINDS, load, write_run
from tests.train.test_stack import batches, learner
from train.plan import plan_dictionaries
from train.stack import Stack
from winnow.errors import UserError

RELU: dict[str, Any] = {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5}


def clipped(norms: list[float], g: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Clip gradients [learner, …], one norm a learner."""
    own = {"architecture": "relu", "l1_coefficient": 0.5}
    stack = Stack([learner(i, {**own, "gradient_norm": norm}) for i, norm in enumerate(norms)])
    found = {name: value.clone() for name, value in g.items()}
    stack._clip(found)
    return found


def test_longer_gradients_are_shortened_and_others_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (4, 48, 16), "b_enc": (4, 48), "W_dec": (4, 48, 16), "b_dec": (4, 16)}
    g = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    norms = torch.stack([value.flatten(1).double().square().sum(1) for value in g.values()]).sum(0).sqrt()
    found = clipped([0.0, 1.0, 7.0, 1e3], g)
    for name, value in g.items():
        factor = torch.tensor([1, 1 / norms[1], 7 / norms[2], 1]).view(-1, *[1] * (value.ndim - 1))
        torch.testing.assert_close(found[name], (value.double() * factor).float(), rtol=1e-6, atol=0)


def test_a_gradient_that_is_not_finite_leaves_the_others_alone() -> None:
    g = {"W_enc": torch.ones(2, 48, 16), "b_enc": torch.ones(2, 48), "W_dec": torch.ones(2, 48, 16)}
    g["b_dec"] = torch.ones(2, 16)
    alone = {name: value[1].clone() for name, value in clipped([1.0, 1.0], g).items()}
    g["W_dec"][0, 3, 5] = torch.nan
    found = clipped([1.0, 1.0], g)
    assert found["b_enc"][0].isnan().all()
    for name, value in alone.items():
        assert torch.equal(found[name][1], value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["architecture"])
def test_every_parameter_counts(kind: dict[str, Any]) -> None:
    more = {"bandwidth": 0.1} if kind["architecture"] == "jumprelu" else {}
    stack = Stack([learner(0, {**kind, **more, "gradient_norm": 0.25})])
    seen: list[dict[str, torch.Tensor]] = []
    clip = stack._clip
    stack._clip = lambda g: (clip(g), seen.append({name: value.clone() for name, value in g.items()}))[0]  # type: ignore[method-assign]
    for x in batches()[:3]:
        stack.train_on(x, x.var(0).sum())
    for g in seen:
        assert g.keys() >= stack.averages.keys()
        whole = sum(float(g[name].double().square().sum()) for name in stack.averages) ** 0.5
        assert whole == pytest.approx(0.25, rel=1e-5)


def test_the_norm_is_named_where_it_is_not_the_usual_one(tmp_path: Path) -> None:
    def names(**more: Any) -> dict[str, float]:
        config = load(write_run(tmp_path, [RELU | more]))
        return {p.name: p.settings.gradient_norm for p in plan_dictionaries(config, {"hooks": {HOOK: 16}}, tmp_path)}

    assert names() == names(gradient_norm=1) == {"relu-48-l1_0.5-seed0": 1.0}
    assert names(gradient_norm=0) == {"relu-48-l1_0.5-clip0-seed0": 0.0}
    assert names(gradient_norm=0.5) == {"relu-48-l1_0.5-clip0.5-seed0": 0.5}
    for wrong in (-1, float("nan"), float("inf"), "one"):
        with pytest.raises(UserError, match=r"train\.dictionaries\.0\.gradient_norm"):
            names(gradient_norm=wrong)
