"""Many variants of one position of a text, cheaply: K queries of one sequence that do not see each other.

What comes before the position is run once and its keys and values are kept. Then the position's token is run K times
as K queries of one sequence, all at the same place, under a mask [1, 1, K, P + K] that lets each see the prefix and
itself. At a hook, each query gets a value of its own. Every call fills a cache of its own, since use changes a cache.

    position = open_position(model, tokens)                                       # varies the last of the tokens
    seen = position.run("blocks.0.hook_resid_pre", values, ["blocks.2.mlp.hook_pre"])     # values [variant, d]
    seen.logits, seen.values["blocks.2.mlp.hook_pre"]                             # [variant, d_vocab], [variant, n]

Gradients flow from what is seen to the values. (A derivative in forward mode needs torch's `SDPBackend.MATH`.)
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, watch

VARIANTS_AT_ONCE = 512  # a pass holds each one's logits

_checked: WeakKeyDictionary[LanguageModel, None] = WeakKeyDictionary()


@dataclass(frozen=True)
class Seen:
    """What the model gives at one position for each variant."""

    logits: Float[Tensor, "variant d_vocab"]
    values: dict[str, Tensor]  # by hook, [variant, width]


@dataclass(frozen=True)
class Position:
    """One position of a text, whose prefix has been run."""

    model: LanguageModel
    token: int
    place: int  # = P, the number of tokens before it
    prefix: list[tuple[Tensor, Tensor]]  # keys and values [1, head, P, d_head] of every layer

    def run(self, hook: str, values: Float[Tensor, "variant width"], watched: Sequence[str] = ()) -> Seen:
        """Run one variant for each row of `values`, which take the place of the value at `hook`; watch other hooks.

        What is watched at `hook` itself is the new value. Raises `UserError` for a hook that is no module's input or
        output, and for values of another width.
        """
        for name in (hook, *watched):
            _refuse_unserved(self.model, name)
        parts = [self._pass(hook, part, watched) for part in values.split(VARIANTS_AT_ONCE)]
        logits = torch.cat([part.logits for part in parts])
        return Seen(logits, {name: torch.cat([part.values[name] for part in parts]) for name in watched})

    def _pass(self, hook: str, values: Tensor, watched: Sequence[str]) -> Seen:
        model, variants = self.model, len(values)
        seen: dict[str, Tensor] = {}

        def replace(old: Tensor) -> Tensor:
            new = values.to(old)
            if new.numel() != old.numel():
                raise UserError(f"{hook}: its value is {old[0, 0].numel()} wide, the variants are {values.shape[1]}")
            return new.reshape(old.shape)

        def keep(name: str, value: Tensor) -> None:
            seen[name] = value[0].flatten(1)

        cache = DynamicCache()
        for layer, (keys, stored) in enumerate(self.prefix):
            cache.update(keys, stored, layer)
        dtype = next(model.plain.parameters()).dtype
        own = torch.full((variants, variants), -torch.inf, dtype=dtype, device=model.device).fill_diagonal_(0)
        mask = torch.cat([own.new_zeros(variants, self.place), own], 1)[None, None]  # [1, 1, K, P + K]
        tokens = torch.full((1, variants), self.token, device=model.device)
        with ExitStack() as stack:
            stack.callback(watch(model.plain, model.sites[hook], replace).remove)
            for name in watched:
                handle = watch(model.plain, model.sites[name], lambda value, name=name: keep(name, value))
                stack.callback(handle.remove)
            logits = model.plain(
                tokens,
                attention_mask=mask,
                position_ids=torch.full_like(tokens, self.place),
                past_key_values=cache,
                use_cache=True,
            ).logits[0]
        return Seen(logits, seen)


def open_position(model: LanguageModel, tokens: Int[Tensor, " position"]) -> Position:
    """Run all tokens but the last, whose variants are then run.

    Raises `UserError` for tokens that the model's context does not hold, and for a model that does not take such masks:
    once for each model, variants of a short text are compared with full passes.
    """
    if not 2 <= len(tokens) <= model.context:
        raise UserError(f"one position needs 2 to {model.context} tokens up to it, found {len(tokens)}")
    if model not in _checked:
        _compare_with_full_passes(model)
        _checked[model] = None
    return _open(model, tokens)


@torch.no_grad()
def _open(model: LanguageModel, tokens: Tensor) -> Position:
    tokens = tokens.to(model.device).long()
    cache = DynamicCache()
    model.plain(tokens[None, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers: list[Any] = cache.layers
    prefix = [(layer.keys, layer.values) for layer in layers]
    return Position(model, int(tokens[-1]), len(tokens) - 1, prefix)


@torch.no_grad()
def _compare_with_full_passes(model: LanguageModel) -> None:
    # as early as can be: before the place of a token is added to it, where that is done there
    hook = "hook_embed" if "hook_embed" in model.sites else "blocks.0.hook_resid_pre"
    _refuse_unserved(model, hook)
    tokens = torch.arange(8, device=model.device) * 97 % model.d_vocab
    value = model.activations(tokens[None], [hook])[hook][0, -1]
    variants = torch.stack([value, value / 2, -value])
    full = torch.cat([model.logits(tokens[None], (hook, _put_last(variant)))[:, -1] for variant in variants])
    try:
        found = _open(model, tokens).run(hook, variants).logits
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{_name(model)}: one position cannot be run by itself in this model ({reason})") from error
    tolerance = 1e-3 if full.dtype == torch.float32 else 5e-2
    error = (found - full).abs().max() / full.abs().max()
    if not error <= tolerance:
        raise UserError(
            f"{_name(model)}: variants of one position differ from full passes by {error.item():.2g} of the largest "
            "logit; this model does not take a 4-D attention mask with a cache"
        )


def _put_last(row: Tensor) -> Callable[[Tensor], Tensor]:
    def put(value: Tensor) -> Tensor:
        changed = value.clone()
        changed[:, -1] = row
        return changed

    return put


def _name(model: LanguageModel) -> str:
    return type(model.plain).__name__


def _refuse_unserved(model: LanguageModel, hook: str) -> None:
    if hook not in model.sites:
        raise UserError(
            f"{hook}: no module of this model has it as its input or output, so it cannot be varied or watched"
        )
