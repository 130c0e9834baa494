"""Activations under TransformerLens' names, against TransformerLens itself."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.models import FAMILIES, save_model
from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model.hooks import resolve_hooks
from winnow.model.language_model import LanguageModel, open_model


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return open_model(ModelSettings(name=str(save_model(request.param, tmp_path_factory.mktemp(request.param)))))


def some_tokens(model: LanguageModel, context: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, model.d_vocab, (3, context), generator=generator)


def assert_equals_run_with_cache(model: LanguageModel, names: list[str]) -> None:
    tokens = some_tokens(model)
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(tokens)
    found = model.activations(tokens, names)
    assert list(found) != []
    for name in names:
        expected = cache[name].flatten(2)
        assert found[name].shape == expected.shape, name
        error = (found[name] - expected).norm() / expected.norm()
        assert error <= 1e-4, (name, error)


def test_every_module_site_equals_run_with_cache(model: LanguageModel):
    names = [name for name in model.hooks if name in model.sites and name.startswith("blocks.")]
    assert {"blocks.2.hook_resid_post", "blocks.0.mlp.hook_post", "blocks.1.hook_attn_out"} <= set(names)
    assert_equals_run_with_cache(model, names)


@pytest.mark.parametrize("name", ["hook_resid_pre", "hook_resid_mid", "hook_mlp_out", "attn.hook_z", "mlp.hook_pre"])
def test_the_usual_points_are_served_by_modules_with_sdpa_attention(model: LanguageModel, name: str):
    if name == "hook_resid_mid" and f"blocks.1.{name}" not in model.hooks:
        pytest.skip("attention and MLP run in parallel here: there is no residual stream between them")
    assert f"blocks.1.{name}" in model.sites
    assert vars(model.plain)["config"]._attn_implementation == "sdpa"


def test_points_inside_attention_equal_run_with_cache(model: LanguageModel):
    assert_equals_run_with_cache(model, ["blocks.1.attn.hook_q", "blocks.1.ln1.hook_normalized"])


def test_the_pass_ends_at_the_last_hook_asked_for(model: LanguageModel):
    ran = []
    blocks = next(m for n, m in model.plain.named_modules() if n.endswith((".h", ".layers")))
    handles = [block.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, block in enumerate(blocks.children())]
    model.activations(some_tokens(model), ["blocks.0.mlp.hook_post", "blocks.1.hook_resid_pre"])
    for handle in handles:
        handle.remove()
    assert ran == [0]


def test_no_hook_is_left_behind(model: LanguageModel):
    tokens = some_tokens(model)
    model.activations(tokens, ["blocks.0.hook_resid_post"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.plain.modules())


@pytest.mark.parametrize("name", ["blocks.1.hook_mlp_out", "blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"])
def test_replaced_activations_change_the_logits_as_transformer_lens_changes_them(model: LanguageModel, name: str):
    tokens = some_tokens(model)
    found = model.logits(tokens, (name, lambda value: value * 0.5))
    with torch.no_grad():
        expected = model.bridge.run_with_hooks(tokens, fwd_hooks=[(name, lambda value, hook: value * 0.5)])
        clean = model.bridge(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (found - clean).abs().max() > 1e-3


def test_a_point_without_positions_is_refused(model: LanguageModel):
    with pytest.raises(UserError, match=r"hook_pattern: its value is .*, not one vector per sequence and position"):
        model.activations(some_tokens(model), ["blocks.0.attn.hook_pattern"])


def test_globs_expand_in_the_models_order_and_once(model: LanguageModel):
    names = resolve_hooks(["blocks.*.hook_mlp_out", "blocks.1.hook_m*_out"], model.hooks)
    assert names == [f"blocks.{layer}.hook_mlp_out" for layer in range(3)]


def test_a_wrong_name_suggests_the_nearest_and_how_to_list_all(model: LanguageModel):
    with pytest.raises(UserError) as refused:
        resolve_hooks(["blocks.1.hook_mlp_oot"], model.hooks)
    assert str(refused.value).startswith("harvest.hooks: no hook blocks.1.hook_mlp_oot; did you mean blocks.1.hook_mlp")
    assert str(refused.value).endswith("python -m winnow.model.hooks --config FILE lists all")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_compute_dtype(gpt2: Path, dtype: Literal["bfloat16", "float16"]):
    model = open_model(ModelSettings(name=str(gpt2), dtype=dtype))
    exact = open_model(ModelSettings(name=str(gpt2)))
    tokens = some_tokens(model)
    name = "blocks.2.hook_resid_post"
    found, expected = (m.activations(tokens, [name])[name] for m in (model, exact))
    assert found.dtype == getattr(torch, dtype)
    assert (found.float() - expected).norm() <= 0.02 * expected.norm()


def test_the_weight_hash_knows_one_changed_weight(gpt2: Path):
    model = open_model(ModelSettings(name=str(gpt2)))
    before = model.weight_hash
    assert before == open_model(ModelSettings(name=str(gpt2))).weight_hash
    next(model.plain.parameters())[0, 0] += 1e-3
    assert model.weight_hash != before


def test_a_missing_model_is_named_with_what_was_tried(tmp_path: Path):
    with pytest.raises(UserError) as refused:
        open_model(ModelSettings(name="nobody/no-such-model"))
    message = str(refused.value)
    assert message.startswith("model.name = nobody/no-such-model: no such folder, and cannot be fetched from the hub")
    assert message.endswith("a local folder in Hugging Face format works too")
    with pytest.raises(UserError, match="the folder cannot be read as a Hugging Face model"):
        open_model(ModelSettings(name=str(tmp_path)))


def test_a_device_that_is_not_there():
    with pytest.raises(UserError, match=r"model\.device = cuda:77: there is no such device here"):
        open_model(ModelSettings(device="cuda:77"))


def test_the_real_model_equals_run_with_cache(shared: Path):
    model = open_model(ModelSettings(name=str(shared / "models" / "tinystories-656k")))
    assert_equals_run_with_cache(
        model, [f"blocks.{layer}.{point}" for layer in (0, 1) for point in ("hook_resid_post", "mlp.hook_post")]
    )
