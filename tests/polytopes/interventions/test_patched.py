"""Variants of one position against full passes, their gradients against full passes', and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from polytopes.interventions import patched
from polytopes.interventions.patched import Seen, open_position
from tests.models import EMBEDDED, save_model
from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, open_model
from winnow.model.sites import watch

HOOKS = ["blocks.0.hook_resid_pre", "blocks.1.mlp.hook_in", "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"]
LAST = "blocks.2.mlp.hook_pre"


@pytest.fixture(scope="module", params=["embedded", "neox", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    family = request.param
    folder = EMBEDDED if family == "embedded" else save_model(family, tmp_path_factory.mktemp(family))
    return open_model(ModelSettings(name=str(folder)))


def text(model: LanguageModel, length: int = 20) -> Tensor:
    return torch.randint(0, model.d_vocab, (length,), generator=torch.Generator().manual_seed(2))


def variants(model: LanguageModel, hook: str, count: int = 5) -> Tensor:
    """The value at the last position, and changed values as far from it as it is long."""
    value = model.activations(text(model)[None], [hook])[hook][0, -1]
    steps = torch.randn(count, len(value), generator=torch.Generator().manual_seed(3))
    steps[0] = 0
    return value + steps * value.norm() / len(value) ** 0.5


def full_pass(model: LanguageModel, hook: str, row: Tensor, watched: str) -> tuple[Tensor, Tensor]:
    """Run the whole text with the last position's value replaced; its logits, and its value at `watched`."""
    seen = {}

    def put(value: Tensor) -> Tensor:
        last = row.reshape(1, 1, *value.shape[2:])
        return torch.cat([value[:, :-1], last], 1)

    handles = [
        watch(model.plain, model.sites[hook], put),
        watch(model.plain, model.sites[watched], lambda value: seen.update({watched: value})),
    ]
    logits = model.plain(text(model)[None], use_cache=False).logits
    for handle in handles:
        handle.remove()
    return logits[0, -1], seen[watched][0, -1]


def assert_equal_to_full_passes(
    model: LanguageModel, hook: str, values: Tensor, seen: Seen, watched: str, tolerance: float
) -> None:
    for number, row in enumerate(values):
        logits, pre = full_pass(model, hook, row, watched)
        torch.testing.assert_close(seen.logits[number], logits, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(seen.values[watched][number], pre, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("hook", HOOKS)
def test_variants_equal_full_passes(model: LanguageModel, hook: str):
    values = variants(model, hook)
    seen = open_position(model, text(model)).run(hook, values, [LAST])
    assert_equal_to_full_passes(model, hook, values, seen, LAST, tolerance=1e-4)
    torch.testing.assert_close(seen.logits[0], model.logits(text(model)[None])[0, -1], rtol=1e-4, atol=1e-4)
    if hook != HOOKS[-1]:
        assert (seen.logits[1] - seen.logits[0]).abs().max() > 1e-3


def test_variants_do_not_see_each_other_and_one_position_may_run_often(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    values = variants(model, HOOKS[0])
    position = open_position(model, text(model))
    together = position.run(HOOKS[0], values, [LAST])
    alone = position.run(HOOKS[0], values[3:4], [LAST])
    torch.testing.assert_close(alone.logits[0], together.logits[3], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(patched, "VARIANTS_AT_ONCE", 2)
    parts = position.run(HOOKS[0], values, [LAST])
    torch.testing.assert_close(parts.logits, together.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.values[LAST], together.values[LAST], rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_full_passes(model: LanguageModel):
    hook = HOOKS[0]
    values = variants(model, hook, 3).requires_grad_()
    seen = open_position(model, text(model)).run(hook, values, [LAST])
    loss = seen.logits.log_softmax(-1)[:, 7].sum() + seen.values[LAST].square().sum()
    (found,) = torch.autograd.grad(loss, values)
    for number in range(3):
        row = values[number].detach().clone().requires_grad_()
        logits, pre = full_pass(model, hook, row, LAST)
        (expected,) = torch.autograd.grad(logits.log_softmax(-1)[7] + pre.square().sum(), row)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(found[number], expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_no_hook_is_left_behind(model: LanguageModel):
    position = open_position(model, text(model))
    with pytest.raises(UserError, match=r"blocks\.0\.hook_resid_pre: its value is \d+ wide, the variants are 5"):
        position.run(HOOKS[0], torch.zeros(2, 5), [LAST])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.plain.modules())


def test_a_model_that_ignores_the_mask_or_the_place_is_refused(model: LanguageModel, monkeypatch: pytest.MonkeyPatch):
    forward = model.plain.forward

    def without(key: str):
        return lambda *args, **kwargs: forward(*args, **{k: v for k, v in kwargs.items() if k != key})

    for key in ("attention_mask", "position_ids", "past_key_values"):
        monkeypatch.setattr(patched, "_checked", type(patched._checked)())
        monkeypatch.setattr(model.plain, "forward", without(key))
        with pytest.raises(UserError, match=r"one position cannot be run by itself|does not take a 4-D attention mask"):
            open_position(model, text(model))
    monkeypatch.setattr(model.plain, "forward", forward)
    open_position(model, text(model))


def test_hooks_without_a_module_and_texts_that_do_not_fit_are_refused(model: LanguageModel):
    position = open_position(model, text(model))
    for hook, watched in (("blocks.1.attn.hook_pattern", []), (HOOKS[0], ["blocks.1.attn.hook_pattern"])):
        with pytest.raises(UserError, match=r"blocks\.1\.attn\.hook_pattern: no module of this model"):
            position.run(hook, torch.zeros(2, 32), watched)
    for length in (1, model.context + 1):
        with pytest.raises(UserError, match=f"needs 2 to {model.context} tokens up to it, found {length}"):
            open_position(model, text(model, length))


def test_a_real_llama_runs_one_position(shared: Path):
    model = open_model(ModelSettings(name=str(shared / "models" / "tinystories-656k")))
    hook, watched = "blocks.0.hook_resid_pre", "blocks.1.mlp.hook_pre"
    values = variants(model, hook)
    seen = open_position(model, text(model)).run(hook, values, [watched])
    assert_equal_to_full_passes(model, hook, values, seen, watched, tolerance=1e-3)
