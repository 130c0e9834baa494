"""What a plan must know of a model, from the model's configuration: no weight is fetched, and none allocated.

The model and TransformerLens' bridge are built of fake tensors, which have a shape and no memory, so hook names, widths
and products are the real ones. (On the meta device the bridge refuses to split the query-key-value weights.) The
experts of a mixture are multiplied token by token: the usual way sorts tokens by values, which are not there.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import HFValidationError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from plan.polytopes import LayerShape
from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model.hooks import resolve_hooks
from winnow.model.language_model import LanguageModel, name_hooks, not_found, with_sdpa
from winnow.shards.dtypes import TORCH

# The bridge needs a tokenizer, any: that of the embedded model is on every machine.
TOKENIZER = Path(__file__).parents[1] / "data" / "tiny_gpt2"


class ModelShape(NamedTuple):
    """What a harvest's size depends on in a model."""

    hooks: dict[str, int]  # name -> width, in the order of the model
    flops_per_token: float  # of a forward pass up to the last hook; a multiplication and an addition are two
    parameters: int
    widest: int  # the most values per token that a module returns


def model_shape(settings: ModelSettings, patterns: Sequence[str], context: int) -> ModelShape:
    """Measure the model that the settings name, run over sequences of `context` tokens up to the last hook.

    Raises `UserError` if its configuration is not found, a pattern names no hook, or the model does not read so many
    tokens.
    """
    import transformer_lens.model_bridge  # before tensors are fake: it makes some when it is imported

    assert transformer_lens.model_bridge
    config = _config(settings)
    with warnings.catch_warnings(), FakeTensorMode(), _AllEqual():
        warnings.simplefilter("ignore")  # libraries warn about themselves
        model = _fake_model(settings, config)
        hooks = resolve_hooks(patterns, model.hooks, model.refused)
        if context > model.context:
            raise UserError(
                f"text.context = {context}: {settings.name} reads {model.context} tokens at most; lower text.context"
            )
        flops = count_flops(model, hooks, context)
        return ModelShape(
            hooks=model.widths(hooks),
            flops_per_token=flops / context,
            parameters=sum(parameter.numel() for parameter in model.plain.parameters()),
            widest=_widest(model.plain),
        )


def layer_shape(settings: ModelSettings, parameters: int) -> LayerShape:
    """Read the sizes of the layers from the model's configuration. Raises `UserError` if it is not found."""
    config = _config(settings)
    d_model = int(config.hidden_size)
    neurons = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * d_model
    return LayerShape(int(config.num_hidden_layers), d_model, int(neurons), 2.0 * parameters)


def count_flops(model: LanguageModel, hooks: Sequence[str], context: int) -> int:
    """Count the operations of products and attention in one sequence's forward pass up to the last hook."""
    tokens = torch.zeros(1, context, dtype=torch.int64)
    with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
        model.activations(tokens, hooks)
    return counter.get_total_flops()


def _cpu_attention_flops(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    return sdpa_flop_count(query, key, value)


# the counter knows only the attention of GPUs
_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention_flops}


class _AllEqual(TorchFunctionMode):
    """Takes fake tensors for equal: a bridge's router compares weights before and behind a hook."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return True if func is torch.equal else func(*args, **kwargs or {})


def _config(settings: ModelSettings) -> Any:
    from transformers import AutoConfig  # here and below: it takes seconds to load, and toy data have no model

    try:
        return AutoConfig.from_pretrained(settings.name, revision=settings.revision)
    except (OSError, ValueError, HFValidationError) as error:
        raise UserError(not_found(settings, error)) from error


def _fake_model(settings: ModelSettings, config: Any) -> LanguageModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        make = partial(AutoModelForCausalLM.from_config, config, experts_implementation="batched_mm")
        plain = with_sdpa(partial(make, dtype=TORCH[settings.dtype]))
    except ValueError as error:
        raise UserError(not_found(settings, error)) from error
    return name_hooks(settings, plain, AutoTokenizer.from_pretrained(TOKENIZER), compare=False)


def _widest(model: nn.Module) -> int:
    """Run two tokens, and return the most values per token that a module returns, except the logits."""
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
