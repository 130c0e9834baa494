"""Find the tokens that a latent promotes and suppresses, by its decoder direction through the unembedding.

A direction in the residual stream reaches the logits through the final normalisation and the unembedding W_U
(nostalgebraist 2020; Elhage et al. 2021). LayerNorm is (x - mean(x)) / std(x) * gamma + beta: the direction loses its
mean and is multiplied by gamma; beta does not depend on it; 1/std, which differs from position to position, is fixed
at its mean over some positions. The result is linear: logits per unit of the latent, by the direct path only. Later
layers, which also read the direction, are left out. The mean over the vocabulary is subtracted, since a softmax
ignores a constant added to all logits.

    readout = Readout.of(model, dictionary.hook, tokens)
    found = promoted(readout, dictionary.W_dec)
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from winnow.model.language_model import LanguageModel

SHOWN = 10  # tokens shown at each end
SEQUENCES = 8  # sequences that give the scale of the final normalisation
LOGITS = 2**24  # most logits in memory at a time: 64 MiB

Linear = Callable[[Tensor], Tensor]


class Promoted(NamedTuple):
    """The tokens whose logits rise and fall most per unit of each latent; largest effects first."""

    tokens: Int[Tensor, "n_latents shown"]
    effects: Float[Tensor, "n_latents shown"]
    suppressed_tokens: Int[Tensor, "n_latents shown"]
    suppressed_effects: Float[Tensor, "n_latents shown"]


class Readout(NamedTuple):
    """The linear path from directions at one hook to the logits.

    words: the path in words, for the pages. to_residual: from the hook's space to the residual stream, None if there
    is no path. final: the linear part of the final normalisation. unembed: W_U minus its mean over the vocabulary.
    """

    words: str
    to_residual: Linear | None
    final: Linear
    unembed: Float[Tensor, "d_vocab d_model"]

    @classmethod
    def of(cls, model: LanguageModel, hook: str, tokens: Int[Tensor, "sequence context"]) -> "Readout":
        """Find the path of a hook; a few sequences of `tokens` give the scale of the final normalisation."""
        words, to_residual = _to_residual(model, hook)
        unembed = model.bridge.unembed.original_component.weight.detach().float()
        final, how = _final(model, tokens[:SEQUENCES]) if to_residual else (_same, "")
        return cls(words + how, to_residual, final, unembed - unembed.mean(0))

    def logits(self, directions: Float[Tensor, "n d"]) -> Float[Tensor, "n d_vocab"]:
        """Compute what one unit along each direction adds to the logits. Raises `ValueError` without a path."""
        if self.to_residual is None:
            raise ValueError(self.words)
        return self.final(self.to_residual(directions)) @ self.unembed.T


@torch.no_grad()
def promoted(readout: Readout, directions: Float[Tensor, "n_latents d"], d_vocab: int | None = None) -> Promoted | None:
    """Find the most promoted and suppressed tokens of each direction; None if there is no path to the logits.

    `d_vocab`: only the first `d_vocab` tokens have a text; some models' unembeddings are padded.
    """
    if readout.to_residual is None:
        return None
    d_vocab = d_vocab or len(readout.unembed)
    ends = []
    for part in directions.detach().float().to(readout.unembed.device).split(max(1, LOGITS // len(readout.unembed))):
        logits = readout.logits(part)[:, :d_vocab]
        count = min(SHOWN, d_vocab)
        high, low = logits.topk(count), logits.topk(count, largest=False)
        ends.append((high.indices, high.values, low.indices, low.values))
    return Promoted(*(torch.cat(column).cpu() for column in zip(*ends, strict=True)))


def _to_residual(model: LanguageModel, hook: str) -> tuple[str, Linear | None]:
    """Find how the hook's values reach the residual stream, by the identity of TransformerLens's hook points."""
    points, block = model.bridge.hook_dict, hook.rpartition("blocks.")[2].split(".")[0]
    same = lambda *names: any(points.get(name) is points[hook] for name in names)  # noqa: E731
    prefix = f"blocks.{block}."
    if same(*(prefix + name for name in ("hook_resid_pre", "hook_resid_mid", "hook_resid_post"))):
        return "the direction lies in the residual stream", _same
    if same("hook_embed", "pos_embed.hook_out", prefix + "hook_mlp_out", prefix + "hook_attn_out"):
        return "the direction is added to the residual stream", _same
    for inside, sum_, layer in (("mlp", "hook_mlp_out", "MLP"), ("attn", "hook_attn_out", "attention")):
        point, whole = points.get(prefix + sum_), points.get(f"{prefix}{inside}.hook_out")
        # if a normalisation follows the layer, these two points differ, and the path is not linear
        out = {"mlp": "out", "attn": "o"}[inside]
        if point is whole is not None and same(f"{prefix}{inside}.{out}.hook_in"):
            module = getattr(getattr(model.bridge.blocks[int(block)], inside), out).original_component
            return f"the direction goes through the {layer}'s output matrix into the residual stream", _weight(module)
    return "this hook is not written to the residual stream by a linear path, so its directions have no logits", None


def _weight(module: nn.Module) -> Linear:
    """Return the linear part of an affine module."""
    module = copy.deepcopy(module).float()

    def apply(directions: Tensor) -> Tensor:
        return module(directions) - module(torch.zeros_like(directions[:1]))

    return apply


def _final(model: LanguageModel, tokens: Tensor) -> tuple[Linear, str]:
    """Return the linear part of the final normalisation, at its mean scale over `tokens`, and its description."""
    name = "ln_final.hook_in"
    if name not in model.hooks:
        return _same, " and straight to the unembedding: the model has no final normalisation"
    norm = copy.deepcopy(model.bridge.ln_final.original_component).float()
    residual = model.activations(tokens.to(model.device), [name])[name].flatten(0, 1).float()
    probe = torch.randn(4, residual.shape[1], generator=torch.Generator().manual_seed(0)).to(model.device)
    centres = torch.allclose(norm(probe + 1), norm(probe), atol=1e-4)  # LayerNorm does, RMSNorm does not

    def spread(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True) if centres else x
        return centred.square().mean(-1, keepdim=True).sqrt()

    scale = float((1 / spread(residual)).mean())

    def linear(directions: Tensor) -> Tensor:
        length = spread(directions).clamp_min(1e-30)
        ones = directions / length * 1e3  # large, so that the normalisation's epsilon does not matter
        odd = (norm(ones) - norm(-ones)) / 2  # cancels the offset
        return odd * length * scale

    kind = "LayerNorm (minus its mean, times gamma" if centres else "RMSNorm (times its weight"
    return linear, f", then through the final {kind}, at its mean scale on held-out text) and the unembedding"


def _same(directions: Tensor) -> Tensor:
    return directions
