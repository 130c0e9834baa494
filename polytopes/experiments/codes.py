"""How soft codes are, and what of a layer its on/off bits give: the experiment `codes`.

The hardening curve puts π(ηh) in the place of π(h): η = 1 is the model, η → ∞ its on/off bits with the same weights. It
is the β-VQ of Balestriero & Baraniuk 2018 (arXiv 1810.09274), η = β/(1−β) for logistic noise.
"""

from math import inf
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytopes.interventions.hardened import hardened
from polytopes.quantiles import quantiles
from polytopes.reading.subject import Subject
from winnow.config.polytopes import PolytopesSettings
from winnow.spline.codes import softness

SHARPNESS = (0.5, 1.0, 2.0, 4.0, 8.0, inf)
SEQUENCES = 32  # that losses are measured on, held out
LOGITS_AT_ONCE = 2**26
BINS = 20


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Measure how soft the codes of every layer are, and the loss as they are made harder.

    layers, and untrained (the twin's; null without one): for each layer, layer; bits, the mean of H₂(p) over rows and
    neurons; undecided, the share of entries with .1 < p < .9; histogram, the shares of p in 20 equal bins of [0, 1];
    on_rate, quantiles over neurons of the share of rows with h > 0; never and always, the numbers of neurons with
    on-rate 0 and 1; distinct_codes, how many different codes the rows have; hard_fvu, the FVU of the layer's output
    with on/off bits in place of p and the same weights (null where maps are quadratic given the code).
    loss: sequences, tokens, how many it is measured on; clean, in nats; sharpness, the values of η (null: infinity);
    curve, all layers together at each of them; hard_layers, each layer alone at infinity; their entries have added, in
    nats, and error, its standard error over sequences.
    """
    twin = subject.twin
    return {
        "layers": [_softness(subject, layer) for layer in subject.layers],
        "untrained": None if twin is None else [_softness(twin, layer) for layer in twin.layers],
        "loss": _loss(subject),
    }


@torch.no_grad()
def _softness(subject: Subject, layer: int) -> dict[str, Any]:
    mlp, u = subject.mlp(layer), subject.hook_input(layer)
    found = softness(mlp, u)
    p = mlp.gate.code(mlp.pre(u))
    counts = torch.histc(p.float().cpu(), BINS, 0, 1)
    rate = found.on_rate.cpu()
    return {
        "layer": layer,
        "bits": found.bits,
        "undecided": found.undecided,
        "histogram": counts / counts.sum(),
        "on_rate": quantiles(rate),
        "never": int((rate == 0).sum()),
        "always": int((rate == 1).sum()),
        "distinct_codes": len(np.unique(np.packbits(subject.code(layer).numpy(), axis=1), axis=0)),
        "hard_fvu": found.hard_fvu,
    }


def _loss(subject: Subject) -> dict[str, Any]:
    text = _held_out_text(subject)
    clean = losses(subject, text, (), 1.0)

    def added(layers: tuple[int, ...], sharpness: float) -> dict[str, float]:
        difference = losses(subject, text, layers, sharpness) - clean
        return {"added": difference.mean().item(), "error": (difference.std() / len(text) ** 0.5).item()}

    nothing = {"added": 0.0, "error": 0.0}
    curve = [nothing if sharpness == 1 else added(subject.layers, sharpness) for sharpness in SHARPNESS]
    alone = [{"layer": layer, **added((layer,), inf)} for layer in subject.layers]
    return {
        "sequences": len(text),
        "tokens": text.numel() - len(text),
        "clean": clean.mean().item(),
        "sharpness": [None if sharpness == inf else sharpness for sharpness in SHARPNESS],
        "curve": curve,
        "hard_layers": alone,
    }


def _held_out_text(subject: Subject) -> Int[Tensor, "sequence context"]:
    first, stop = subject.first_held_out, subject.tokens.sequences
    count = min(SEQUENCES, stop - first)
    return subject.text(np.linspace(first, stop - 1, count).round().astype(int))


@torch.no_grad()
def losses(
    subject: Subject, text: Int[Tensor, "sequence context"], layers: tuple[int, ...], sharpness: float
) -> Float[Tensor, " sequence"]:
    """Compute the mean cross-entropy of each sequence, in nats, with π(ηh) in some layers."""
    model = subject.model
    batch = max(1, LOGITS_AT_ONCE // (text.shape[1] * model.d_vocab))
    found = []
    for part in text.split(batch):
        logits = model.run(part, hardened(subject, layers, sharpness))[:, :-1].float()
        target = part[:, 1:].to(logits.device).long()
        found.append(torch.nn.functional.cross_entropy(logits.mT, target, reduction="none").mean(1).double().cpu())
    return torch.cat(found)
