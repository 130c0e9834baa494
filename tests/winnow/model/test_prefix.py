"""Passes that start at a hook, against full ones."""

import pytest
import torch

from tests.models import FAMILIES, save_model
from winnow.config.experiment import ModelSettings
from winnow.model import prefix as module
from winnow.model.language_model import LanguageModel, open_model
from winnow.model.prefix import clean_pass, skip_prefix

HOOKS = ("blocks.1.hook_resid_post", "blocks.2.hook_mlp_out", "blocks.2.mlp.hook_post", "blocks.1.hook_resid_pre")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_model(ModelSettings(name=str(save_model(request.param, tmp_path_factory.mktemp(request.param)))))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 4096, (3, 24), generator=torch.Generator().manual_seed(3))


def blocks_that_run(model: LanguageModel) -> tuple[list[int], list]:
    blocks = next(m for n, m in model.plain.named_modules() if n.endswith((".h", ".layers")))
    ran: list[int] = []
    firsts = [next(child for child in block.children() if list(child.parameters())) for block in blocks.children()]
    return ran, [first.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, first in enumerate(firsts)]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_pass_from_the_hook_on_equals_the_full_one(model, tokens, hook):
    change = (hook, lambda value: value.flip(0) * 0.7)
    expected = model.logits(tokens, change)
    clean, prefixes = clean_pass(model, tokens, HOOKS)
    assert torch.equal(clean, model.logits(tokens))
    with skip_prefix(model, prefixes[hook]):
        torch.testing.assert_close(model.logits(tokens, change), expected)
    assert torch.equal(model.logits(tokens, change), expected)  # nothing of it stays behind


def test_the_blocks_before_the_hook_do_not_run(model, tokens):
    _, prefixes = clean_pass(model, tokens, HOOKS)
    assert [prefixes[hook].blocks for hook in HOOKS] == [2, 2, 2, 1]
    ran, handles = blocks_that_run(model)
    with skip_prefix(model, prefixes[HOOKS[0]]):
        model.logits(tokens, (HOOKS[0], lambda value: value))
    for handle in handles:
        handle.remove()
    assert ran == [2]


def test_a_hook_in_the_first_block_has_no_prefix(model, tokens):
    _, prefixes = clean_pass(model, tokens, ["blocks.0.hook_mlp_out", "hook_embed"])
    assert prefixes == {}
    with skip_prefix(model, None):
        assert torch.equal(model.logits(tokens), model.logits(tokens))


def test_where_skipping_would_change_the_logits_nothing_is_skipped(gpt2, tokens, monkeypatch):
    model = open_model(ModelSettings(name=str(gpt2)))
    run = module._run_noting_blocks

    def wrong(*arguments):
        logits, outputs = run(*arguments)
        return logits, {blocks: output * 1.5 for blocks, output in outputs.items()}

    monkeypatch.setattr(module, "_run_noting_blocks", wrong)
    assert clean_pass(model, tokens, HOOKS)[1] == {}


def test_a_failing_pass_leaves_the_blocks_as_they_were(model, tokens):
    _, prefixes = clean_pass(model, tokens, HOOKS)

    def fail(value):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), skip_prefix(model, prefixes[HOOKS[0]]):
        model.logits(tokens, (HOOKS[0], fail))
    assert not any("forward" in vars(module) for module in model.plain.modules())
