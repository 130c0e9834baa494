"""Measure the model's loss when a hook's activations are replaced by their reconstruction.

The loss is the cross-entropy of the next token, in nats, over all positions that have a next token. Only the
positions that the harvest keeps are replaced: a dictionary never saw the others in training.

recovered = (ce_zero - ce_patched) / (ce_zero - ce_clean): 1 if nothing is lost, 0 if the reconstruction is no
better than zeros. Zeros are a weak baseline, so the mean activation is used as a second one.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Sums(NamedTuple):
    """Sums over predicted tokens of cross-entropy and KL(clean || this pass), in nats."""

    tokens: int = 0
    ce: float = 0.0
    kl: float = 0.0

    def __add__(self, other: "Sums") -> "Sums":  # type: ignore[override]  # adds fields, where a tuple would concatenate
        return Sums(self.tokens + other.tokens, self.ce + other.ce, self.kl + other.kl)

    @property
    def mean_ce(self) -> float:
        return self.ce / self.tokens if self.tokens else math.nan

    @property
    def mean_kl(self) -> float:
        return self.kl / self.tokens if self.tokens else math.nan


class Clean:
    """One batch's unpatched predictions, with which patched passes are compared."""

    def __init__(self, logits: Float[Tensor, "sequence context d_vocab"], tokens: Int[Tensor, "sequence context"]):
        self.targets = tokens[:, 1:, None].long()
        logits = logits[:, :-1].float()
        log_probs = logits.log_softmax(-1)
        self.probs = log_probs.exp()  # (sequence, context - 1, d_vocab)
        self.entropy = -(self.probs * log_probs).sum(-1)
        self.sums = Sums(self.targets.numel(), float(-log_probs.gather(-1, self.targets).double().sum()))

    def compare(self, logits: Float[Tensor, "sequence context d_vocab"]) -> Sums:
        """Compute the sums of another pass over the same tokens."""
        logits = logits[:, :-1].float()
        log_sum = logits.logsumexp(-1)
        ce = (log_sum - logits.gather(-1, self.targets)[..., 0]).double().sum()
        # KL = sum of p (log p - log q), with log q = logit - log_sum: one pass over the vocabulary
        kl = (log_sum - torch.linalg.vecdot(self.probs, logits) - self.entropy).double().sum()
        return Sums(self.targets.numel(), float(ce), float(kl))


def substitute(kept: Bool[Tensor, "sequence context"], values: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that writes `values` ([row, width], or one [width] for all) to the kept positions."""

    def patch(activations: Float[Tensor, "sequence context width"]) -> Float[Tensor, "sequence context width"]:
        patched = activations.clone()
        patched[kept] = values.to(patched)
        return patched

    return patch


def recovered(patched: float, clean: float, ablated: float) -> float:
    """Compute (ablated - patched) / (ablated - clean), NaN if the ablation costs nothing."""
    return (ablated - patched) / (ablated - clean) if ablated != clean else math.nan


def loss_metrics(clean: Sums, patched: Sums, zero: Sums, mean: Sums) -> dict[str, float]:
    """Collect one dictionary's losses, named as in `metrics.json`."""
    return {
        "clean": clean.mean_ce,
        "patched": patched.mean_ce,
        "zero": zero.mean_ce,
        "mean": mean.mean_ce,
        "recovered": recovered(patched.mean_ce, clean.mean_ce, zero.mean_ce),
        "recovered_mean": recovered(patched.mean_ce, clean.mean_ce, mean.mean_ce),
        "kl": patched.mean_kl,
    }
