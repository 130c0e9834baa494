"""Batches side by side: the same values in the same order, and no more in memory than allowed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model.forward import AT_ONCE, Forward, forward_passes
from winnow.model.language_model import LanguageModel, open_model
from winnow.runtime.threads import thread_pool

pytestmark = pytest.mark.usefixtures("two_threads")

HOOKS = ["blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"]


@pytest.fixture(scope="module")
def model(gpt2: Path) -> LanguageModel:
    return open_model(ModelSettings(name=str(gpt2)))


def some_batches(count: int = 9) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 4096, (2, 16), generator=generator) for _ in range(count)]


@pytest.mark.parametrize("at_once", [1, 3])
def test_batches_side_by_side_give_what_they_give_alone_in_their_order(model: LanguageModel, at_once: int):
    batches = some_batches()
    with thread_pool(at_once, torch_threads=1) as pool:
        found = list(Forward([model.replica() for _ in range(at_once)], HOOKS, pool)(batches))
    assert len(found) == len(batches)
    for batch, values in zip(batches, found, strict=True):
        expected = model.activations(batch, HOOKS)
        for hook in HOOKS:
            torch.testing.assert_close(values[hook], expected[hook], rtol=1e-5, atol=1e-6)


def test_a_replica_shares_every_weight_and_no_hook(model: LanguageModel):
    replica = model.replica()
    own = {name: tensor.data_ptr() for name, tensor in model.plain.state_dict().items()}
    assert {name: tensor.data_ptr() for name, tensor in replica.plain.state_dict().items()} == own
    assert {id(module) for module in model.plain.modules()}.isdisjoint(map(id, replica.plain.modules()))


def test_no_more_batches_are_taken_than_are_computed_at_once(model: LanguageModel):
    taken = 0

    def counted() -> Iterator[Tensor]:
        nonlocal taken
        for batch in some_batches():
            taken += 1
            yield batch

    with thread_pool(2, torch_threads=1) as pool:
        passes = Forward([model.replica(), model.replica()], HOOKS, pool)(counted())
        next(passes)
        assert taken == 3
        passes.close()  # type: ignore[attr-defined]


def test_what_goes_wrong_in_a_batch_is_raised_where_it_is_waited_for(model: LanguageModel):
    with thread_pool(2, torch_threads=1) as pool:
        passes = Forward([model.replica(), model.replica()], ["blocks.1.attn.hook_pattern"], pool)
        with pytest.raises(UserError, match="not one vector per sequence and position"):
            list(passes(some_batches()))


def test_torch_threads_are_what_they_were(model: LanguageModel):
    before = torch.get_num_threads()
    with forward_passes(model, HOOKS) as forward:
        list(forward(some_batches(2)))
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
    assert AT_ONCE >= 2


def test_hooks_that_need_the_bridge_run_one_batch_at_a_time(model: LanguageModel):
    with forward_passes(model, ["blocks.1.attn.hook_q"]) as forward:
        (values,) = forward(some_batches(1))
    assert values["blocks.1.attn.hook_q"].shape == (2, 16, 32)


def test_compiling_a_hook_inside_attention_is_refused_by_name(model: LanguageModel):
    with (
        pytest.raises(UserError, match=r"harvest\.compile: blocks\.1\.attn\.hook_q lies inside"),
        forward_passes(model, ["blocks.1.attn.hook_q"], compile_for=2),
    ):
        pass


def test_a_compiler_that_fails_is_one_line(model: LanguageModel, monkeypatch: pytest.MonkeyPatch):
    def failing(tokens: Tensor) -> None:
        raise RuntimeError("No working C++ compiler found\nand two hundred lines more")

    monkeypatch.setattr(torch, "compile", lambda traced, **options: failing)
    with pytest.raises(UserError) as said, forward_passes(model, HOOKS[:1], compile_for=3) as forward:
        list(forward(some_batches(1)))
    assert str(said.value) == (
        "harvest.compile: torch.compile failed (No working C++ compiler found); set harvest.compile to false"
    )
