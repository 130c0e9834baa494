"""Run a model again from a hook on: compute the blocks before it once, not for every patch.

    logits, prefixes = clean_pass(model, tokens, ["blocks.2.hook_resid_post"])
    with skip_prefix(model, prefixes.get("blocks.2.hook_resid_post")):
        model.logits(tokens, replace=("blocks.2.hook_resid_post", change))    # blocks 0 to 2 are not run again

The logits equal those of the full pass. There is no prefix, and the whole model runs, if the blocks of a model pass on
more than their outputs (the logits would differ), or if no module inside a block serves the hook.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, takewhile
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from winnow.model.language_model import LanguageModel

_checked: WeakKeyDictionary[LanguageModel, dict[str, bool]] = WeakKeyDictionary()


class Prefix(NamedTuple):
    """The first blocks of a forward pass, and what they returned."""

    blocks: int
    output: Any  # of the last of these blocks: a tensor, or a tuple that begins with one


@torch.no_grad()
def clean_pass(
    model: LanguageModel, tokens: Int[Tensor, "sequence context"], hooks: Sequence[str]
) -> tuple[Float[Tensor, "sequence context d_vocab"], dict[str, Prefix]]:
    """Compute the logits and, in the same pass, the prefix of each hook; hooks without a prefix are left out."""
    skipped = {hook: blocks for hook in hooks if (blocks := _skippable(model, hook))}
    logits, outputs = _run_noting_blocks(model, tokens, set(skipped.values()))
    return logits, {hook: Prefix(blocks, outputs[blocks]) for hook, blocks in skipped.items()}


@contextmanager
def skip_prefix(model: LanguageModel, prefix: Prefix | None) -> Iterator[None]:
    """Skip the blocks of a prefix in passes over the same tokens: they return its output. None skips nothing."""
    with ExitStack() as stack:
        for path in _blocks(model)[: prefix.blocks if prefix else 0]:
            block = model.plain.get_submodule(path)
            vars(block)["forward"] = lambda *_, **__: prefix and prefix.output  # found before the method of the class
            stack.callback(vars(block).pop, "forward")
        yield


def _skippable(model: LanguageModel, hook: str) -> int:
    """Count the blocks that need not run again; 0 if skipping them would change the logits."""
    blocks = _blocks_before(model, hook)
    known = _checked.setdefault(model, {})
    if blocks and hook not in known:
        tokens = torch.arange(8, device=model.device)[None] % model.d_vocab
        prefix = Prefix(blocks, _run_noting_blocks(model, tokens, {blocks})[1][blocks])
        halved = (hook, lambda value: value / 2)
        full = model.logits(tokens, halved)
        with skip_prefix(model, prefix):
            known[hook] = torch.allclose(model.logits(tokens, halved), full, rtol=1e-3, atol=1e-4)
    return blocks if known.get(hook) else 0


def _blocks_before(model: LanguageModel, hook: str) -> int:
    site = model.sites.get(hook)
    for number, path in enumerate(_blocks(model)):
        if site is not None and site.module == path:
            return number + (site.side == "out")
        if site is not None and site.module.startswith(path + "."):
            return number
    return 0


def _blocks(model: LanguageModel) -> list[str]:
    """List the paths of the model's blocks: the modules whose output is the residual stream after them."""
    sites = (model.sites.get(f"blocks.{number}.hook_resid_post") for number in count())
    return [site.module for site in takewhile(lambda site: site is not None and site.side == "out", sites) if site]


def _run_noting_blocks(model: LanguageModel, tokens: Tensor, counts: set[int]) -> tuple[Tensor, dict[int, Any]]:
    """Compute the logits, and record what block number n returns, for each n in `counts`."""
    blocks, outputs = _blocks(model), dict[int, Any]()
    with ExitStack() as stack:
        for number in counts:
            block = model.plain.get_submodule(blocks[number - 1])
            handle = block.register_forward_hook(lambda _, __, output, number=number: outputs.update({number: output}))
            stack.callback(handle.remove)
        return model.logits(tokens), outputs
