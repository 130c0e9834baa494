"""Crossings of a line in all later layers of a transformer, sampled: a lower bound, for no exact case covers attention.

The line runs in the residual stream after a layer, at the position of its first row, in the context of that row.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytopes import bootstrap
from polytopes.interventions.patched import open_position
from polytopes.lines.pairs import Pairs
from polytopes.quantiles import quantiles
from polytopes.reading.subject import Subject
from winnow.spline.density import match_lengths
from winnow.spline.lines import sampled_crossings

LINES = 16  # of each kind
MOST_POINTS = 257


def lines_through(subject: Subject, layer: int, same: Pairs, different: Pairs, purpose: str) -> dict[str, Any] | None:
    """Compare the density of boundaries of all later layers within labels and between; None after the last layer.

    layer; boundaries, the number of later neurons; lines of each kind; points, quantiles of how many were sampled;
    same and different: the mean density, with interval; ratio, of different to same, with low, high and length_ratio.
    """
    last = max(int(name.split(".")[1]) for name in subject.model.hooks if name.endswith(".hook_resid_post"))
    later = list(range(layer + 1, last + 1))
    if not later:
        return None
    draw = subject.random("through", purpose, str(layer))
    chosen = torch.from_numpy(draw.permutation(len(same))[:LINES])
    x = subject.values(f"blocks.{layer}.hook_resid_post").double()
    first, second = same.first[chosen], same.second[chosen]
    length = (x[first] - x[second]).norm(dim=1)
    others = (x[different.first] - x[different.second]).norm(dim=1)
    matched = match_lengths(length, others)
    found = [
        [count_on_line(subject, layer, later, int(i), x[i], x[j]) for i, j in zip(*ends, strict=True)]
        for ends in ((first, second), (different.first[matched], different.second[matched]))
    ]
    counts = torch.tensor(found, dtype=torch.float64)  # [kind, line, (count, points)]
    densities = [counts[0, :, 0] / length, counts[1, :, 0] / others[matched]]
    within, between = (density.numpy() for density in densities)
    label, seed = same.label[chosen].numpy(), int(draw.integers(2**31))
    return {
        "layer": layer,
        "boundaries": sum(subject.mlp(other).n for other in later),
        "lines": len(chosen),
        "points": quantiles(counts[..., 1]),
        "same": bootstrap.mean(within, label, seed)._asdict(),
        "different": bootstrap.mean(between, label, seed)._asdict(),
        "ratio": {
            **bootstrap.ratio(between, within, label, seed)._asdict(),
            "length_ratio": others[matched].mean() / length.mean(),
        },
    }


@torch.no_grad()
def count_on_line(
    subject: Subject, layer: int, later: list[int], row: int, a: Float[Tensor, " d"], b: Float[Tensor, " d"]
) -> tuple[int, int]:
    """Count the crossings of later layers from a to b at a row's position, and the points that were sampled."""
    position = open_position(subject.model, subject.tokens_up_to(row))
    watched = [f"blocks.{other}.mlp.hook_pre" for other in later]

    def codes(t: Float[Tensor, " point"]) -> Bool[Tensor, "point n"]:
        values = (a + t[:, None] * (b - a)).float()
        seen = position.run(f"blocks.{layer}.hook_resid_post", values, watched).values
        return torch.cat([seen[name] > 0 for name in watched], 1).cpu()

    return sampled_crossings(codes, most=MOST_POINTS)
