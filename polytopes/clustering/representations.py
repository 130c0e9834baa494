"""What of a row is compared with other rows, the distances, and rows that have lost what clusters are made of.

post:2      the hidden activations of layer 2, euclidean distances
code:2      its hard codes, Jaccard distances: an off bit that both share says little
code:0-3    the codes of layers 0 to 3, joined
code:0+6    the codes of layers 0 and 6, joined, where `code:all` stands for layers with gaps
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from winnow.errors import UserError
from winnow.spline.codes import jaccard


@dataclass(frozen=True)
class Representation:
    """What of a row is compared: its activations or its codes, at some layers."""

    kind: Literal["post", "code"]
    layers: tuple[int, ...]

    @property
    def name(self) -> str:
        first, last = self.layers[0], self.layers[-1]
        if self.layers != tuple(range(first, last + 1)):
            return f"{self.kind}:{'+'.join(map(str, self.layers))}"
        return f"{self.kind}:{first}" if first == last else f"{self.kind}:{first}-{last}"

    def distances(
        self, rows: Float[Tensor, "row n"], others: Float[Tensor, "other n"] | None = None
    ) -> Float[Tensor, "row other"]:
        """Compute the distance between every two rows in float64; without `others`, exactly symmetric.

        rows: activations; of codes anything that is above 0 where a neuron is on.
        """
        if self.kind == "code":
            return jaccard(rows > 0, None if others is None else others > 0)
        return euclidean(rows, others)


def representations(names: Sequence[str], layers: Sequence[int]) -> list[Representation]:
    """Read `post:2`, `code:*`, `code:0-3`, `code:all`; a star is each of the layers that are looked at by itself.

    Raises `UserError` for a name of another form, and for a layer that is not among them.
    """
    found: dict[str, Representation] = {}
    for name in names:
        match = re.fullmatch(r"(post|code):(?:(\*)|(\d+)(?:-(\d+))?|(all))", name)
        if match is None or (match[1] == "post" and (match[4] or match[5])):
            raise UserError(
                f"polytopes.clusters.representations: {name!r} is none; there are post:L, code:L and code:L-K with "
                "layers L and K, code:all, and a star for every layer"
            )
        kind = "post" if match[1] == "post" else "code"
        if match[2]:
            spans = [(layer,) for layer in layers]
        elif match[5]:
            spans = [tuple(layers)]
        else:
            spans = [tuple(range(int(match[3]), int(match[4] or match[3]) + 1))]
        for span in spans:
            if not span or not set(span) <= set(layers):
                there = ", ".join(map(str, layers))
                raise UserError(
                    f"polytopes.clusters.representations: {name!r}: the layers looked at are {there}; name these, and "
                    "ranges from low to high"
                )
            one = Representation(kind, span)
            found[one.name] = one
    return list(found.values())


def euclidean(
    rows: Float[Tensor, "row n"], others: Float[Tensor, "other n"] | None = None
) -> Float[Tensor, "row other"]:
    """Compute euclidean distances in float64 by a matrix product.

    Squares are subtracted: of rows at distance r from their mean, distances below 1e-8 r are noise.
    """
    x = rows.double()
    mean = x.mean(0)
    x = x - mean
    y = x if others is None else others.double() - mean
    squares = x.square().sum(1)[:, None] + y.square().sum(1)
    found = squares.addmm_(x, y.T, alpha=-2).clamp_(min=0).sqrt_()
    if others is None:  # HDBSCAN refuses what is symmetric only up to rounding
        return found.add_(found.T.clone()).div_(2).fill_diagonal_(0)
    return found


def permuted_columns(rows: Float[Tensor, "row n"], seed: int) -> Float[Tensor, "row n"]:
    """Permute every column by itself: each neuron is on as often as before, but not together with others."""
    generator = torch.Generator().manual_seed(seed)
    result = torch.empty_like(rows)
    for column in range(rows.shape[1]):
        result[:, column] = rows[torch.randperm(len(rows), generator=generator).to(rows.device), column]
    return result


def gaussian_rows(rows: Float[Tensor, "row n"], seed: int) -> Float[Tensor, "row n"]:
    """Draw as many rows from the normal distribution with these rows' mean and covariance."""
    mean = rows.mean(0)
    # z X/√N has X's covariance, whatever its rank
    z = torch.randn(len(rows), len(rows), generator=torch.Generator().manual_seed(seed)).to(rows)
    return mean + z @ (rows - mean) / len(rows) ** 0.5
