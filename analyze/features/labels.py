"""Label latents by a few tokens: those that they fire on, and those that they promote.

    held_out = HeldOut.open("runs/demo")
    [labels] = label_latents(held_out, [dictionary])
    print(labels[123])                  # ·of → ·array ·ndarray ·axes
    labels[123].rate                    # share of the held-out rows on which it fires

A label is a hint, not an explanation: it uses only the strongest firings and the direct path to the logits.
The report's feature pages (docs/guide/features.md) show the rest.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from analyze.evaluation.text import HeldOutText
from analyze.features.examples import FeatureExamples, top_examples
from analyze.features.logits import Promoted, Readout, promoted
from winnow.dictionary import Dictionary
from winnow.model.token_texts import token_texts

FIRES, PROMOTES = 2, 3  # most tokens that a label names
SHARE = 0.25  # least share of the strongest examples for a token to be named
VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥"})


class Label(NamedTuple):
    """A latent's label in tokens, and the share of held-out rows on which it fires.

    fires_on: tokens with at least a quarter of its strongest firings each, most frequent first. promotes: the tokens
    whose logits its direction raises most; empty if its hook has no linear path to the logits.
    """

    fires_on: tuple[str, ...]
    promotes: tuple[str, ...]
    rate: float

    def __str__(self) -> str:
        """Write the tokens as the feature pages do: a space is `·`, a line end `↵`, a tab `⇥`."""
        fires, ends = (" ".join(map(visible, tokens)) for tokens in (self.fires_on, self.promotes))
        return f"{fires or 'various'} → {ends}" if ends else fires or "various"


def visible(text: str) -> str:
    """Make spaces, line ends and tabs in a token's text visible."""
    return text.translate(VISIBLE)


def label_latents(held_out: HeldOutText, dictionaries: Sequence[Dictionary]) -> list[list[Label]]:
    """Label every latent of each dictionary by the held-out text of the run it was trained in.

    The model runs once for all of them.
    """
    texts = token_texts(held_out.model.bridge.tokenizer)
    batch = held_out.config.harvest.sequences_per_batch
    found = top_examples(
        held_out.model,
        held_out.tokens,
        held_out.kept,
        dictionaries,
        sequences_per_batch=batch,
        limits=held_out.norm_limits(dictionaries),
    )
    readouts = {d.hook: Readout.of(held_out.model, d.hook, held_out.tokens) for d in dictionaries}
    tokens = held_out.tokens.flatten().tolist()
    return [
        _labels(examples, promoted(readouts[d.hook], d.W_dec, len(texts)), tokens, texts)
        for examples, d in zip(found, dictionaries, strict=True)
    ]


def _labels(
    examples: FeatureExamples, effects: Promoted | None, tokens: Sequence[int], texts: Sequence[str]
) -> list[Label]:
    rates = (examples.firings / max(1, examples.rows)).tolist()
    up: list[list[int]] = [[]] * len(rates) if effects is None else effects.tokens[:, :PROMOTES].tolist()
    peaks: list[list[int]] = [[tokens[at] for at in row if at >= 0] for row in examples.top.tokens.tolist()]
    return [
        Label(_frequent([texts[token] for token in peak]), tuple(texts[token] for token in ends), rate)
        for peak, ends, rate in zip(peaks, up, rates, strict=True)
    ]


def _frequent(peaks: Sequence[str]) -> tuple[str, ...]:
    """Choose the texts that each make up at least `SHARE` of `peaks`, most frequent first."""
    return tuple(text for text, count in Counter(peaks).most_common(FIRES) if count >= SHARE * len(peaks))
