"""Are boundaries denser between meanings than within one? The experiment `density`.

Lines are drawn in the residual stream that a layer's norm reads, from rows to rows of the same label and of different
labels, matched by length. Crossings are exact, each layer by itself.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytopes import bootstrap
from polytopes.lines.crossed import count_crossings
from polytopes.lines.pairs import LabelledPairs, Pairs, draw_pairs, permuted
from polytopes.lines.through import lines_through
from polytopes.quantiles import quantiles
from polytopes.reading.subject import Subject
from winnow.config.polytopes import PolytopesSettings
from winnow.spline.density import density_ratio, match_lengths, soft_density
from winnow.spline.maps import full_share
from winnow.spline.mlp import MLP


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Compare the density of boundaries within labels and between them, at every layer.

    labels: for each, label; pairs of one label; classes, how many labels they are of; layers: for each,
    layer; before_norm, whether lines run in the residual stream (else in what the layer reads);
    length, quantiles of the lines of one label; full_share, of the bits that differ between the ends of these, those
      that go from p < .1 to p > .9;
    crossings and soft (Σ|Δp|), both per unit of length: density, the means with interval of same, different (matched),
      random (directions from the same starts, of the same lengths) and gaussian (between Gaussian rows of the same mean
      and covariance, matched); ratio, of different to same, and of its controls: permuted (labels), untrained (null
      without a twin), random and gaussian (to same); each with value, low, high and length_ratio, the mean length of
      the lines above over that of those below; unmatched, the ratio where lengths are not matched, which misleads;
    through: for each layer, boundaries of all later layers on a few lines in the residual stream after it, sampled, a
      lower bound (keys: `polytopes.lines.through.lines_through`); null after the last layer.
    Intervals are 95 %, by bootstrap over classes.
    """
    return {"labels": [_of_label(subject, name, settings.density.pairs) for name in settings.density.labels]}


def _of_label(subject: Subject, name: str, count: int) -> dict[str, Any]:
    labels = subject.rows.label(name)
    pairs = draw_pairs(subject.rows, name, labels, count, subject.random("density", name))
    random = subject.random("density", name, "permuted")
    meaningless = draw_pairs(subject.rows, name, permuted(labels, random), count, random)
    return {
        "label": name,
        "pairs": len(pairs.same),
        "classes": len(pairs.same.label.unique()),
        "layers": [_of_layer(subject, layer, name, pairs, meaningless) for layer in subject.layers],
        "through": [lines_through(subject, layer, pairs.same, pairs.different, name) for layer in subject.layers],
    }


class _Lines:
    """Lines at one layer, and how dense boundaries are on each."""

    def __init__(self, mlp: MLP, a: Float[Tensor, "line d"], b: Float[Tensor, "line d"]) -> None:
        self.length = (b.double() - a.double()).norm(dim=1)
        before_norm = mlp.norm is not None
        self.crossings = count_crossings(mlp, a, b, before_norm) / self.length
        self.ends = _codes(mlp, a), _codes(mlp, b)
        self.soft = soft_density(*self.ends, self.length)

    def density(self, measured: str) -> Tensor:
        return getattr(self, measured)


@torch.no_grad()
def _codes(mlp: MLP, rows: Tensor) -> Tensor:
    parts = [mlp.gate.code(mlp.pre(mlp.read(p) if mlp.norm is not None else p)).cpu() for p in rows.split(1024)]
    return torch.cat(parts)


def _of_layer(
    subject: Subject, layer: int, label: str, pairs: LabelledPairs, meaningless: LabelledPairs
) -> dict[str, Any]:
    mlp, x = subject.mlp(layer), _rows(subject, layer)
    draw = subject.random("density", label, str(layer))
    same, different = _matched(mlp, x, pairs)
    random = _Lines(mlp, x[pairs.same.first], _elsewhere(x, pairs.same, draw))
    gaussian = _gaussian(mlp, x, same.length, draw)
    shuffled = _matched(mlp, x, meaningless)
    twin = subject.twin
    untrained = None if twin is None else _matched(twin.mlp(layer), _rows(twin, layer), pairs)
    unmatched = _some(pairs.different, len(pairs.same), draw)
    anywhere = _Lines(mlp, x[unmatched.first], x[unmatched.second])
    seed = int(draw.integers(2**31))
    of_line = pairs.same.label

    def of(measured: str) -> dict[str, Any]:
        def beside(lines: _Lines) -> dict[str, Any]:
            found = bootstrap.ratio(
                lines.density(measured).numpy(), same.density(measured).numpy(), of_line.numpy(), seed
            )
            return {**found._asdict(), "length_ratio": lines.length.mean() / same.length.mean()}

        kinds = {"same": same, "different": different, "random": random, "gaussian": gaussian}
        return {
            "density": {
                name: bootstrap.mean(lines.density(measured).numpy(), of_line.numpy(), seed)._asdict()
                for name, lines in kinds.items()
            },
            "ratio": _ratio(measured, same, different, of_line, seed),
            "permuted": _ratio(measured, *shuffled, meaningless.same.label, seed),
            "untrained": None if untrained is None else _ratio(measured, *untrained, of_line, seed),
            "random": beside(random),
            "gaussian": beside(gaussian),
            "unmatched": anywhere.density(measured).mean() / same.density(measured).mean(),
        }

    return {
        "layer": layer,
        "before_norm": mlp.norm is not None,
        "length": quantiles(same.length),
        "full_share": full_share(*same.ends),
        "crossings": of("crossings"),
        "soft": of("soft"),
    }


def _rows(subject: Subject, layer: int) -> Float[Tensor, "row d"]:
    return subject.residual(layer) if subject.mlp(layer).norm is not None else subject.hook_input(layer)


def _matched(mlp: MLP, x: Tensor, pairs: LabelledPairs) -> tuple[_Lines, _Lines]:
    """Draw the lines of one label, and for each the line between different labels whose length is closest."""
    same = _Lines(mlp, x[pairs.same.first], x[pairs.same.second])
    first, second = pairs.different.first, pairs.different.second
    length = torch.cat(
        [
            (x[i].double() - x[j].double()).norm(dim=1)
            for i, j in zip(first.split(4096), second.split(4096), strict=True)
        ]
    )
    chosen = match_lengths(same.length, length)
    return same, _Lines(mlp, x[first[chosen]], x[second[chosen]])


def _ratio(measured: str, same: _Lines, different: _Lines, label: Tensor, seed: int) -> dict[str, Any]:
    found = density_ratio(
        same.density(measured), same.length, different.density(measured), different.length, label, seed
    )
    return {"value": found.ratio, "low": found.low, "high": found.high, "length_ratio": found.length_ratio}


def _elsewhere(x: Tensor, pairs: Pairs, draw: np.random.Generator) -> Tensor:
    """Give ends as far from the first rows as the second ones are, in random directions."""
    start = x[pairs.first]
    direction = torch.from_numpy(draw.standard_normal(start.shape)).to(start)
    length = (x[pairs.second] - start).norm(dim=1, keepdim=True)
    return start + length * direction / direction.norm(dim=1, keepdim=True)


def _gaussian(mlp: MLP, x: Tensor, length: Tensor, draw: np.random.Generator) -> _Lines:
    """Draw lines between Gaussian rows of the mean and covariance of x, matched with these lengths."""
    rows = gaussian_like(x, draw)
    first, second = torch.from_numpy(draw.integers(len(rows), size=(2, 10 * len(length))))
    first, second = first[first != second], second[first != second]
    of_pair = torch.cat(
        [
            (rows[i].double() - rows[j].double()).norm(dim=1)
            for i, j in zip(first.split(4096), second.split(4096), strict=True)
        ]
    )
    chosen = match_lengths(length, of_pair)
    return _Lines(mlp, rows[first[chosen]], rows[second[chosen]])


def gaussian_like(x: Float[Tensor, "row d"], draw: np.random.Generator) -> Float[Tensor, "row d"]:
    """Draw as many rows from the normal distribution with the mean and covariance of these."""
    mean = x.double().mean(0)
    mixed = torch.from_numpy(draw.standard_normal((len(x), len(x)))) @ (x.double() - mean)
    return (mean + mixed / len(x) ** 0.5).to(x)


def _some(pairs: Pairs, count: int, draw: np.random.Generator) -> Pairs:
    chosen = torch.from_numpy(draw.permutation(len(pairs))[:count])
    return Pairs(pairs.first[chosen], pairs.second[chosen], pairs.label[chosen])
