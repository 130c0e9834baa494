"""Which hooks can be harvested: all that are listed, and none of the others, each of which has its reason."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BioGptConfig,
    BioGptForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from plan.model_shape import model_shape
from tests.experiments import load, write_config
from tests.models import EMBEDDED, FAMILIES, ODD, random_model, save_model
from winnow.config.experiment import Experiment, ModelSettings
from winnow.config.toy import ToySettings
from winnow.errors import UserError
from winnow.model.compiled import CompiledModel
from winnow.model.hooks import left_out, list_hooks, resolve_hooks
from winnow.model.language_model import LanguageModel, open_model

CONTEXT = 12


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("models")
    return {name: open_model(ModelSettings(name=str(save_model(name, folder / name)))) for name in (*FAMILIES, *ODD)}


def some_tokens(sequences: int = 3) -> Tensor:
    return torch.randint(0, 4096, (sequences, CONTEXT), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", [*FAMILIES, *ODD])
def test_every_hook_that_is_listed_can_be_harvested(models: dict[str, LanguageModel], name: str):
    model, tokens = models[name], some_tokens()
    found, of_one = model.activations(tokens, model.hooks), model.activations(tokens[1:2], model.hooks)
    for hook, width in model.widths(model.hooks).items():
        assert found[hook].shape == (len(tokens), CONTEXT, width), hook
        torch.testing.assert_close(of_one[hook][0], found[hook][1], rtol=1e-4, atol=1e-5)  # rows of their sequence
    for hook in model.hooks[::20]:
        alone = model.activations(tokens, [hook])[hook]
        torch.testing.assert_close(alone, found[hook], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*FAMILIES, *ODD])
def test_every_other_name_is_refused_with_its_reason(models: dict[str, LanguageModel], name: str):
    model = models[name]
    others = set(model.bridge.hook_dict) - set(model.hooks)
    assert others == set(model.refused)
    for hook in others:
        with pytest.raises(UserError) as refused:
            resolve_hooks([hook], model.hooks, model.refused)
        assert str(refused.value).startswith(f"harvest.hooks: {hook}: {model.refused[hook]}; ")


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("blocks.0.hook_mlp_in", "TransformerLens computes it only behind a switch, which stays off; hook_resid_mid"),
        ("blocks.1.attn.hook_result", "TransformerLens computes it only behind a switch, which stays off; attn.hook_z"),
        ("blocks.1.hook_q_input", "TransformerLens computes it only behind a switch, which stays off; hook_resid_pre"),
        ("blocks.0.hook_attn_in", "TransformerLens computes it only behind a switch, which stays off; hook_resid_pre"),
        ("blocks.0.attn.hook_pattern", "its value is [2, 4, 7, 7], not one vector per sequence and position"),
        ("embed.hook_in", "its values are int64 numbers, not activations"),
        ("blocks.0.attn.qkv.hook_out", "the model computes no such value in a plain forward pass"),
    ],
)
def test_what_gpt2_cannot_give(models: dict[str, LanguageModel], hook: str, reason: str):
    assert models["gpt2"].refused[hook].startswith(reason)
    assert hook not in models["gpt2"].hooks


def test_a_glob_takes_what_can_be_harvested_and_says_what_it_leaves_out(models: dict[str, LanguageModel]):
    model = models["gpt2"]
    found = resolve_hooks(["blocks.0.hook_*"], model.hooks, model.refused)
    assert {"blocks.0.hook_resid_pre", "blocks.0.hook_mlp_out"} < set(found) <= set(model.hooks)
    (line,) = left_out(["blocks.0.hook_*", "blocks.0.hook_mlp_out"], model.refused)
    assert line.startswith(
        "harvest.hooks: blocks.0.hook_* leaves out blocks.0.hook_mlp_in and 4 more: TransformerLens "
    )
    with pytest.raises(
        UserError, match=r"\*pattern matches no hook that can be harvested; blocks\.0\.attn\.hook_pattern: "
    ):
        resolve_hooks(["*pattern"], model.hooks, model.refused)


def by_hand(model: LanguageModel, tokens: Tensor, module: str) -> tuple[Tensor, Tensor]:
    """Give the input and output of a module by a hook of torch, as [sequence, position, width]."""
    seen: list[Any] = []
    handle = model.plain.get_submodule(module).register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
    with torch.no_grad():
        model.plain(tokens)
    handle.remove()
    assert all(value.shape[0] == tokens.numel() for value in seen)  # rows of one matrix
    return seen[0].reshape(*tokens.shape, -1), seen[1].reshape(*tokens.shape, -1)


@pytest.mark.parametrize(
    ("hook", "module", "side"),
    [
        ("blocks.1.mlp.hook_pre", "fc1", 1),
        ("blocks.1.mlp.hook_post", "fc2", 0),
        ("blocks.1.hook_mlp_out", "fc2", 1),
        ("blocks.1.hook_resid_mid", "final_layer_norm", 0),
        ("blocks.1.mlp.hook_in", "fc1", 0),
    ],
)
def test_opt_gives_at_its_mlp_what_a_hook_of_torch_gives(
    models: dict[str, LanguageModel], hook: str, module: str, side: int
):
    model, tokens = models["opt"], some_tokens()
    expected = by_hand(model, tokens, f"model.decoder.layers.1.{module}")[side]
    found = model.activations(tokens, ["blocks.0.hook_resid_pre", hook])[hook]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_replacing_rows_of_one_matrix_changes_the_logits_as_transformer_lens_does(models: dict[str, LanguageModel]):
    model, tokens, hook = models["opt"], some_tokens(), "blocks.1.mlp.hook_post"

    def second_half(value: Tensor) -> Tensor:
        assert value.shape == (*tokens.shape, 96)
        changed = value.clone()
        changed[:, CONTEXT // 2 :] = 0
        return changed

    found = model.logits(tokens, (hook, second_half))
    with torch.no_grad():
        expected = model.bridge.run_with_hooks(
            tokens,
            fwd_hooks=[(hook, lambda value, hook: second_half(value.reshape(*tokens.shape, -1)).reshape(value.shape))],
        )
        clean = model.plain(tokens).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[:, : CONTEXT // 2], clean[:, : CONTEXT // 2], rtol=1e-4, atol=1e-5)
    assert (found - clean)[:, CONTEXT // 2 :].abs().max() > 1e-4


def test_a_compiled_pass_gives_rows_their_shape(models: dict[str, LanguageModel], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)  # the graph itself takes a minute
    model, tokens, hook = models["opt"], some_tokens(2), "blocks.1.mlp.hook_post"
    found = CompiledModel(model, [hook], 3).activations(tokens, [hook])[hook]
    torch.testing.assert_close(found, model.activations(tokens, [hook])[hook], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pattern", ["blocks.1.mlp.hook_post", "blocks.*.mlp.hook_p*"])
def test_a_mixture_of_experts_has_no_neurons_under_that_name(models: dict[str, LanguageModel], pattern: str):
    model = models["mixtral"]
    with pytest.raises(
        UserError, match=r"no neurons .* \(a mixture of experts\), and .* would be blocks\..*\.mlp\.hook_"
    ):
        resolve_hooks([pattern], model.hooks, model.refused)
    # a run of an older version has it as the MLP's output, and is still read
    tokens = some_tokens()
    found = model.activations(tokens, ["blocks.1.mlp.hook_post"])["blocks.1.mlp.hook_post"]
    torch.testing.assert_close(found, model.activations(tokens, ["blocks.1.hook_mlp_out"])["blocks.1.hook_mlp_out"])


def test_a_pattern_of_attention_is_none_when_the_context_equals_the_heads(tmp_path: Path):
    config = GPT2Config(vocab_size=4096, n_positions=64, n_embd=28, n_layer=1, n_head=7)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    model = open_model(ModelSettings(name=str(tmp_path)))
    with pytest.raises(UserError, match=r"hook_pattern: its value is \[2, 7, 11, 11\], not one vector"):
        model.activations(some_tokens()[:, :7], ["blocks.0.attn.hook_pattern"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_encoder_is_refused_by_name(tmp_path: Path, dtype: Literal["float32", "bfloat16", "float16"]):
    model = open_model(ModelSettings(name=str(save_model("bert", tmp_path)), dtype=dtype))
    with pytest.raises(UserError) as refused:
        model.refuse_reading_ahead("some/bert")
    assert str(refused.value) == (
        "model.name = some/bert: what BertLMHeadModel computes at a token depends on the tokens after it, as in an "
        "encoder; choose a causal language model"
    )


@pytest.mark.parametrize("name", [*FAMILIES, *ODD])
def test_a_causal_model_is_not_taken_for_an_encoder(models: dict[str, LanguageModel], name: str):
    assert not models[name].reads_ahead
    models[name].refuse_reading_ahead(name)


def test_bert_as_a_decoder_is_causal(tmp_path: Path):
    bert: Any = random_model("bert")
    bert.config.is_decoder = True
    bert.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    assert not open_model(ModelSettings(name=str(tmp_path))).reads_ahead


def test_architectures_without_names_or_without_causality_are_one_line(tmp_path: Path):
    config = BioGptConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BioGptForCausalLM(config).save_pretrained(tmp_path / "biogpt")
    T5ForConditionalGeneration(T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1)).save_pretrained(
        tmp_path / "t5"
    )
    for name, said in (
        ("biogpt", "TransformerLens cannot open a BioGptForCausalLM (Could not determine supported architecture from "),
        ("t5", "T5Config is that of no causal language model; choose one"),
    ):
        save_tokenizer(tmp_path / name)
        settings = ModelSettings(name=str(tmp_path / name))
        for ask in (lambda s=settings: open_model(s), lambda s=settings: model_shape(s, ["*"], CONTEXT)):
            with pytest.raises(UserError) as refused:
                ask()
            assert str(refused.value).startswith(f"model.name = {tmp_path / name}: {said}")
            assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["gpt2", *ODD])
def test_a_plan_lists_the_same_hooks_with_the_same_widths(models: dict[str, LanguageModel], tmp_path: Path, name: str):
    model = models[name]
    planned = model_shape(ModelSettings(name=str(save_model(name, tmp_path))), ["*"], CONTEXT).hooks
    assert planned == model.widths(model.hooks)


def test_no_hook_and_no_switch_is_left_behind(models: dict[str, LanguageModel]):
    model = models["gpt2"]
    assert not any(point.has_hooks() for point in model.bridge.hook_dict.values())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.plain.modules())
    assert not model.bridge.cfg.use_attn_result


def test_the_command_lists_what_can_be_harvested(gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    list_hooks(load(write_config(tmp_path, gpt2)))
    printed = capsys.readouterr()
    assert printed.out.split() == open_model(ModelSettings(name=str(gpt2))).hooks
    assert printed.err == "44 more cannot be harvested; naming one in harvest.hooks says why\n"


def test_toy_data_have_one_hook_and_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    list_hooks(Experiment(config="", run=str(tmp_path), toy=ToySettings(rows=100)))
    assert capsys.readouterr().out == "toy\n"


def save_tokenizer(folder: Path) -> None:
    AutoTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
