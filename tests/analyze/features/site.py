"""Feature pages of two planted dictionaries, without a language model: what they must show is known."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analyze.compare.cosines import unit
from analyze.features.data import Feature, write_feature, write_text
from analyze.features.examples import FeatureExamples, top_examples
from analyze.features.logits import Readout, promoted
from analyze.features.neighbours import Relative, nearest_latents
from analyze.features.pages import render_page
from tests.analyze.planted import orthogonal, tied
from winnow.dictionary import Dictionary

CONTEXT, D_MODEL = 16, 64
HOSTILE = "</script><img src=x onerror=\"document.title='broken in'\">"
# latent i of the larger dictionary fires on token i alone, and promotes it
TEXTS = [
    *[
        " the",
        " The",
        "the",
        " there",
        "\n\n",
        "        ",
        "é",
        "\\xE2",
        HOSTILE,
        "<b>bold</b>",
        "\u202egnirts",
        "日本",
    ],
    *[f" word{i}" for i in range(12, 40)],
]
SMALL, LARGE = 20, 40


class Embedding:
    """A model whose activation is its token's direction, twice as long at every fourth position."""

    device = torch.device("cpu")
    d_vocab = LARGE

    def __init__(self) -> None:
        self.directions = orthogonal(LARGE, D_MODEL)

    def activations(self, tokens: Tensor, hooks: Any) -> dict[str, Tensor]:
        length = 1.0 + (torch.arange(tokens.shape[1]) % 4 == 3)
        return dict.fromkeys(hooks, self.directions[tokens] * length[None, :, None])

    def logits(self, tokens: Tensor, replace: Any = None) -> Tensor:
        raise NotImplementedError


def dictionaries() -> tuple[Dictionary, Dictionary]:
    """Make two. The small one's latent i lies between the large one's i and i + 20, nearer to the first.

    The large one's last latent is dead.
    """
    directions = Embedding().directions
    small = tied(unit(directions[:SMALL] + 0.5 * directions[SMALL:]))
    large = tied(directions)
    large.b_enc.data[-1] = -100.0
    return small, large


def write_site(folder: Path) -> Path:
    """Write the pages into `folder`, and return the page's path."""
    tokens = torch.randint(LARGE, (30, CONTEXT), generator=torch.Generator().manual_seed(0))
    kept = torch.ones_like(tokens, dtype=torch.bool)
    small, large = dictionaries()
    found = top_examples(Embedding(), tokens, kept, [small, large])
    data = folder / "data"
    for name in ("text", "small", "large"):
        (data / name).mkdir(parents=True)
    sequences = tokens.int().numpy()
    write_text(data / "text", TEXTS, sequences)
    edges = {i: [Relative("dictionaries/x/large", i, 0.894, 0.7)] for i in range(SMALL)}
    back = {i: [Relative("dictionaries/x/small", i, 0.894, 0.7)] for i in range(SMALL)}
    write_feature(data / "small", _feature(small, found[0], "large", large, {}, edges), sequences)
    write_feature(data / "large", _feature(large, found[1], "small", small, back, {}), sequences)
    entries = [_entry("small", SMALL), _entry("large", LARGE)]
    names = {f"dictionaries/x/{name}": name for name in ("small", "large")}
    page = folder / "index.html"
    page.write_text(render_page("runs/<b>x</b>", "text", entries, names), encoding="utf-8")
    return page


def _feature(
    dictionary: Dictionary,
    examples: FeatureExamples,
    name: str,
    other: Dictionary,
    parents: dict[int, list[Relative]],
    children: dict[int, list[Relative]],
) -> Feature:
    readout = Readout("the direction is read as it is", lambda d: d, lambda d: d, Embedding().directions)
    alive = torch.ones(other.n_latents, dtype=torch.bool)
    near = {f"dictionaries/x/{name}": nearest_latents(dictionary.W_dec, other.W_dec, alive)}
    return Feature(examples, promoted(readout, dictionary.W_dec), readout.words, near, parents, children)


def _entry(name: str, n_latents: int) -> dict[str, Any]:
    return {
        "path": f"dictionaries/x/{name}",
        "hook": "x",
        "architecture": "relu",
        "n_latents": n_latents,
        "sparsity": {"l1_coefficient": 1.0},
        "options": {},
        "seed": 0,
        "l0": 1.0,
        "fvu": 0.25,
    }
