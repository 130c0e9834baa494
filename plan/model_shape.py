"""What a plan needs to know of a model, read off its configuration: no weight is fetched, and none allocated.

The model and TransformerLens' bridge are built of fake tensors, which have a shape and no memory, so hook names, widths
and products are those of the real one. (On the meta device the bridge refuses to split the query-key-value weights.)
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import HFValidationError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model.hooks import resolve_hooks
from winnow.model.language_model import LanguageModel, not_found
from winnow.shards.dtypes import TORCH

# The bridge wants a tokenizer, whose words do not matter here: the embedded model's is on every machine.
TOKENIZER = Path(__file__).parents[1] / "data" / "tiny_gpt2"


class ModelShape(NamedTuple):
    """A model, as far as a harvest's size depends on it."""

    hooks: dict[str, int]  # name -> width, in the order of the model
    flops_per_token: float  # of a forward pass that ends at the last hook; a multiplication and an addition are two
    parameters: int
    most_context: int  # tokens that it reads at most
    widest: int  # most values per token that one of its modules gives out


def model_shape(settings: ModelSettings, patterns: Sequence[str], context: int) -> ModelShape:
    """Measure the model that the settings name, run over sequences of `context` tokens as far as the hooks need.

    Raises `UserError` where its configuration is not found, where a pattern names no hook, and where the model does not
    read so many tokens.
    """
    import transformer_lens.model_bridge  # before tensors are fake: it makes some when it is loaded

    assert transformer_lens.model_bridge
    config = _config(settings)
    with warnings.catch_warnings(), FakeTensorMode():
        warnings.simplefilter("ignore")  # of libraries, about themselves
        model = _fake_model(settings, config)
        hooks = resolve_hooks(patterns, model.hooks)
        if context > model.context:
            raise UserError(
                f"text.context = {context}: {settings.name} reads {model.context} tokens at most; lower text.context"
            )
        return ModelShape(
            hooks=_bridge_widths(model, hooks),
            flops_per_token=count_flops(model, hooks, context) / context,
            parameters=sum(parameter.numel() for parameter in model.plain.parameters()),
            most_context=model.context,
            widest=_widest(model.plain),
        )


def count_flops(model: LanguageModel, hooks: Sequence[str], context: int) -> int:
    """Count the operations of products and attention in one sequence's forward pass up to the last hook."""
    tokens = torch.zeros(1, context, dtype=torch.int64)
    with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
        model.activations(tokens, hooks)
    return counter.get_total_flops()


def _cpu_attention_flops(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    return sdpa_flop_count(query, key, value)


# the counter knows attention on GPUs only
_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention_flops}


def _config(settings: ModelSettings) -> Any:
    from transformers import AutoConfig  # as below: it takes seconds, and toy data have no model

    try:
        return AutoConfig.from_pretrained(settings.name, revision=settings.revision)
    except (OSError, ValueError, HFValidationError) as error:
        raise UserError(not_found(settings, error)) from error


def _fake_model(settings: ModelSettings, config: Any) -> LanguageModel:
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    transformers.logging.disable_progress_bar()
    dtype = TORCH[settings.dtype]
    plain, twin = (_modules(config, dtype) for _ in range(2))  # the bridge takes one of them apart
    modules = {id(module): path for path, module in twin.named_modules()}
    bridge = TransformerBridge.boot_transformers(
        settings.name,
        hf_model=twin,
        tokenizer=transformers.AutoTokenizer.from_pretrained(TOKENIZER),
        device=torch.device("cpu"),
        dtype=dtype,
    )
    return LanguageModel(plain, bridge, modules)


def _modules(config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)


def _bridge_widths(model: LanguageModel, hooks: Sequence[str]) -> dict[str, int]:
    """Ask the bridge, which a real model's sites are compared with before they are used."""
    sites = dict(model.sites)
    model.sites.clear()
    found = model.widths(hooks)
    model.sites.update(sites)
    return found


def _widest(model: nn.Module) -> int:
    """Run two tokens, and give the most values per token that a module gives out; the vocabulary's logits aside."""
    found = [0]

    def look(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 3:
            found.append(output.shape[-1])

    head = model.get_output_embeddings()  # type: ignore[operator]
    handles = [module.register_forward_hook(look) for module in model.modules() if module not in (head, model)]
    model(torch.zeros(1, 2, dtype=torch.int64), use_cache=False)
    for handle in handles:
        handle.remove()
    return max(found)
