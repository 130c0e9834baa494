"""Measure dictionaries on held-out sequences: one model pass for all hooks, then one per dictionary from its hook on.

measured = evaluate(model, tokens, kept, dictionaries, centres, bar.advance)
measured[0].quality.fvu, measured[0].loss["recovered"]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.evaluation.loss import Clean, Sums, loss_metrics, substitute
from analyze.evaluation.massive import is_massive, without_massive
from analyze.evaluation.quality import Quality
from winnow.dictionary import Dictionary
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel
from winnow.model.prefix import clean_pass, skip_prefix

Change = Callable[[Tensor], Tensor]

LOGITS_ON_CPU = 2**23  # in one batch; more would not fit the caches and would take a third longer
LOGITS_ON_DEVICE = 2**28  # 1 GiB in float32; a few copies are held while passes are compared
FEWEST = 8  # least sequences in a batch, however many logits they have


@runtime_checkable
class PatchableModel(Protocol):
    """The interface that evaluation needs; `winnow.model.language_model.LanguageModel` has it."""

    device: torch.device
    d_vocab: int

    def activations(self, tokens: Tensor, hooks: Sequence[str]) -> dict[str, Tensor]: ...

    def logits(self, tokens: Tensor, replace: tuple[str, Change] | None = None) -> Tensor: ...


class Evaluation(NamedTuple):
    """One dictionary's results."""

    quality: Quality
    loss: dict[str, float] | None  # None if no model reads the activations


@torch.no_grad()
def evaluate(
    model: PatchableModel,
    tokens: Int[Tensor, "sequence context"],
    kept: Bool[Tensor, "sequence context"],
    dictionaries: Sequence[Dictionary],
    centres: Mapping[str, Float[Tensor, " width"]],
    advance: Callable[[int], None] = lambda sequences: None,
    sequences_per_batch: int | None = None,
    limits: Mapping[str, float] | None = None,
) -> list[Evaluation]:
    """Measure each dictionary at the `kept` positions of `tokens`.

    `centres` holds each hook's mean activation, which `ce_mean` substitutes for the activations. `advance` is
    called with the number of sequences done. The batch size does not change the results; the default depends on
    the size of the logits. `limits` holds the norms above which a hook's rows are massive: those keep their own value
    in every pass, and count in `fvu_all_rows` only.
    """
    limits = limits or {}
    hooks = list(dict.fromkeys(dictionary.hook for dictionary in dictionaries))
    qualities = [Quality(d.n_latents, centres[d.hook].to(model.device), limits.get(d.hook, inf)) for d in dictionaries]
    clean = Sums()
    patched = [Sums()] * len(dictionaries)
    zero = dict.fromkeys(hooks, Sums())
    mean = dict.fromkeys(hooks, Sums())
    size = sequences_per_batch or _batch(model, tokens.shape[1])
    for batch, keep in zip(tokens.split(size), kept.split(size), strict=True):
        batch, keep = batch.to(model.device), keep.to(model.device)
        seen = model.activations(batch, hooks)
        logits, again = _clean(model, batch, hooks)
        reference = Clean(logits, batch)
        clean += reference.sums

        rows = {hook: seen[hook][keep].float() for hook in hooks}  # (row, d_model)
        refuse_not_finite(rows)
        massive = {hook: is_massive(rows[hook], limits.get(hook, inf)) for hook in hooks}

        def patch(hook: str, values: Tensor, keep=keep, reference=reference, again=again, massive=massive) -> Sums:
            left_out = massive[hook]
            if left_out is not None and values.ndim > 1:
                values = values[~left_out]
            return reference.compare(again(hook, substitute(without_massive(keep, left_out), values)))

        for hook in hooks:
            zero[hook] += patch(hook, torch.zeros_like(centres[hook]))
            mean[hook] += patch(hook, centres[hook])
        for i, dictionary in enumerate(dictionaries):
            x = rows[dictionary.hook]
            f = dictionary.encode(x)
            y = dictionary.decode(f)
            qualities[i].update(x, f, y)
            patched[i] += patch(dictionary.hook, y)
        advance(len(batch))
    return [
        Evaluation(quality, loss_metrics(clean, patched[i], zero[d.hook], mean[d.hook]))
        for i, (d, quality) in enumerate(zip(dictionaries, qualities, strict=True))
    ]


@torch.no_grad()
def evaluate_rows(
    batches: Iterable[Mapping[str, Float[Tensor, "row width"]]],
    dictionaries: Sequence[Dictionary],
    centres: Mapping[str, Float[Tensor, " width"]],
    limits: Mapping[str, float] | None = None,
) -> list[Evaluation]:
    """Measure each dictionary on rows of its hook that come from no model; dictionaries must be on the rows' device."""
    qualities = [Quality(d.n_latents, centres[d.hook], (limits or {}).get(d.hook, inf)) for d in dictionaries]
    for rows in batches:
        for dictionary, quality in zip(dictionaries, qualities, strict=True):
            x = rows[dictionary.hook]
            f = dictionary.encode(x)
            quality.update(x, f, dictionary.decode(f))
    return [Evaluation(quality, None) for quality in qualities]


def refuse_not_finite(rows: Mapping[str, Float[Tensor, "row width"]]) -> None:
    """Raise `UserError` naming the hook whose rows are not all finite: every figure of quality would be none."""
    for hook, x in rows.items():
        if not bool(x.isfinite().all()):
            raise UserError(
                f"{hook}: the model gives values that are not finite at held-out positions, where quality is measured; "
                "compute in a wider model.dtype, or leave this hook out, in a new run"
            )


def _clean(
    model: PatchableModel, tokens: Tensor, hooks: Sequence[str]
) -> tuple[Tensor, Callable[[str, Change], Tensor]]:
    """Compute the logits, and return a function that recomputes them with the values at a hook changed."""
    if not isinstance(model, LanguageModel):
        return model.logits(tokens), lambda hook, change: model.logits(tokens, replace=(hook, change))
    logits, prefixes = clean_pass(model, tokens, hooks)

    def again(hook: str, change: Change) -> Tensor:
        with skip_prefix(model, prefixes.get(hook)):
            return model.logits(tokens, replace=(hook, change))

    return logits, again


def _batch(model: PatchableModel, context: int) -> int:
    logits = LOGITS_ON_CPU if model.device.type == "cpu" else LOGITS_ON_DEVICE
    return max(FEWEST, logits // (context * model.d_vocab))
