"""How much of a layer is a lookup among affine maps: of N centres, each with its own map, the nearest one's applies.

    found = measure_layer(mlp, u, sequence, centres=[1, 4, 16], seed=0)
    found["curves"]["ridge"][2]["fvu"]          # of the held-out rows, with 16 maps

Centres are k-means' of the training rows, and maps are fitted by polytopes/maps/affine_cells.py. Beside them stand what
could be had without fitting (the layer's own map at the centre) and without the centres' meaning (random, shuffled).
FVU = Σ‖y−ŷ‖² / Σ‖y−ȳ‖², ȳ the mean of the held-out rows.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytopes import bootstrap
from polytopes.maps.affine_cells import Rows, cell_means, fit_cells, fit_globally, split
from polytopes.reading.subject import Subject
from winnow.config.polytopes import PolytopesSettings
from winnow.errors import UserError
from winnow.spline.mlp import MLP

ROWS_AT_ONCE = 4096  # times the centres, or the neurons


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Measure every layer's MLP on rows of harvested sequences.

    layers: for each
      layer; rows: {train, validation, test}; centres: the numbers N of maps;
      curves: for ridge, constant, shared_code (null for gated layers), tangent, random_centres and shuffled, for each N
        {fvu, low, high}, of fitted ones also lambda, in rows of mean variance; intervals by a bootstrap over sequences;
      hard_code (null for gated layers) and zero: {fvu, low, high} of the row's own on/off bits, and of y = 0;
      stored, multiplications: for each N; mlp: {stored, multiplications} of the layer itself.
    """
    places = subject.harvested(settings.regions.rows, "polytopes.regions.rows")
    sequence = places.sequence.numpy()
    found = []
    for layer in subject.layers:  # one at a time: the rows are many
        hook = f"blocks.{layer}.mlp.hook_in"
        u = subject.read(places, [hook])[hook]
        seed = int(subject.random("regions", str(layer)).integers(2**31))
        measured = measure_layer(subject.mlp(layer), u, sequence, settings.regions.centres, seed)
        found.append({"layer": layer, **measured})
    return {"layers": found}


@torch.no_grad()
def measure_layer(
    mlp: MLP, u: Float[Tensor, "row d_in"], sequence: Int[np.ndarray, " row"], centres: Sequence[int], seed: int
) -> dict[str, Any]:
    """Measure how well N affine maps stand in for a layer, for each N in `centres`, on rows that it reads.

    sequence: of each row; no sequence is both fitted and measured. Raises `UserError` for too few rows.
    """
    mlp = mlp.to(torch.device("cpu")).to(torch.float64)
    u = mlp.fitting(u)
    y = torch.cat([mlp(part) for part in u.split(ROWS_AT_ONCE)])
    parts = split(Rows(u, y, sequence), seed)
    if max(centres) > len(parts.train):
        raise UserError(
            f"polytopes.regions.centres: {max(centres):,} centres for {len(parts.train):,} rows to fit on; ask for "
            "fewer, or raise polytopes.regions.rows"
        )
    left, everywhere = fit_globally(parts)
    test = parts.test
    generator = torch.Generator().manual_seed(seed)
    names = ("ridge", "constant", "shared_code", "tangent", "random_centres", "shuffled")
    curves: dict[str, list[Any]] = {name: [] for name in names}
    for count in centres:
        places = cluster_centres(parts.train.u, count, seed)
        cells = [nearest(part.u, places) for part in parts]
        drawn = parts.train.u[torch.randperm(len(parts.train), generator=generator)[:count]]
        around_drawn = [nearest(part.u, drawn) for part in parts]
        shuffled = [cell[torch.randperm(len(cell), generator=generator)] for cell in cells]
        for name, chosen in (("ridge", cells), ("random_centres", around_drawn), ("shuffled", shuffled)):
            predicted = fit_cells(left, chosen)
            curves[name].append({**_fvu(test, everywhere.y + predicted.y, seed), "lambda": predicted.ridge})
        curves["constant"].append(_fvu(test, cell_means(parts, cells, count), seed))
        centre = places[cells[2]]
        shared = _fvu(test, shared_code(mlp, test.u, centre), seed) if mlp.has_affine_maps else None
        curves["shared_code"].append(shared)
        curves["tangent"].append(_fvu(test, tangent_at_centre(mlp, test.u, centre), seed))
    return {
        "rows": dict(zip(("train", "validation", "test"), map(len, parts), strict=True)),
        "centres": list(centres),
        "curves": curves if mlp.has_affine_maps else {**curves, "shared_code": None},
        "hard_code": _fvu(test, hard_output(mlp, test.u), seed) if mlp.has_affine_maps else None,
        "zero": _fvu(test, torch.zeros_like(test.y), seed),
        "stored": [stored(mlp, count) for count in centres],
        "multiplications": [multiplications(mlp, count) for count in centres],
        "mlp": {"stored": stored(mlp), "multiplications": multiplications(mlp)},
    }


def _fvu(test: Rows, predicted: Tensor, seed: int) -> dict[str, Any]:
    error = (test.y - predicted).square().sum(1).numpy()
    total = (test.y - test.y.mean(0)).square().sum(1).numpy()
    found = bootstrap.ratio(error, total, test.sequence, seed)
    return {"fvu": found.value, "low": found.low, "high": found.high}


def cluster_centres(u: Float[Tensor, "row d_in"], count: int, seed: int) -> Float[Tensor, "centre d_in"]:
    """Find centres by `MiniBatchKMeans`; one centre is the mean."""
    if count == 1:
        return u.mean(0, keepdim=True)
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(
        count,
        random_state=seed,
        n_init=3,  # pyright: ignore[reportArgumentType]
        batch_size=2048,
    )
    return torch.from_numpy(means.fit(u.numpy()).cluster_centers_)


def nearest(u: Float[Tensor, "row d_in"], centres: Float[Tensor, "centre d_in"]) -> Int[Tensor, " row"]:
    """Give the number of the nearest centre of each row."""
    size = centres.square().sum(1)
    return torch.cat([(size - 2 * part @ centres.T).argmin(1) for part in u.split(ROWS_AT_ONCE)])


def shared_code(
    mlp: MLP, u: Float[Tensor, "row d_in"], centre: Float[Tensor, "row d_in"]
) -> Float[Tensor, "row d_out"]:
    """Compute y with the value map at each row's centre, A_p(c) and c_p(c). Raises `UserError` for gated layers."""
    mlp.refuse_quadratic_maps()
    return _in_parts(u, centre, lambda x, c: (mlp.pre(x) * mlp.gate.weight(mlp.pre(c))) @ mlp.W_out + mlp.b_out)


def tangent_at_centre(
    mlp: MLP, u: Float[Tensor, "row d_in"], centre: Float[Tensor, "row d_in"]
) -> Float[Tensor, "row d_out"]:
    """Compute y with the tangent at each row's centre: y(c) + (u − c) J_c."""

    def tangent(x: Tensor, c: Tensor) -> Tensor:
        h = mlp.pre(c)
        active, step = mlp.gate(h), mlp.gate.slope(h) * (mlp.pre(x) - h)
        if not mlp.is_gated:
            return (active + step) @ mlp.W_out + mlp.b_out
        return (active * mlp.value(x) + step * mlp.value(c)) @ mlp.W_out + mlp.b_out  # the product rule

    return _in_parts(u, centre, tangent)


def hard_output(mlp: MLP, u: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_out"]:
    """Compute y with each row's own on/off bits in place of its soft code. Raises `UserError` for gated layers."""
    mlp.refuse_quadratic_maps()

    def hard(x: Tensor, _: Tensor) -> Tensor:
        h = mlp.pre(x)
        return (h * mlp.gate.weight(h, inf)) @ mlp.W_out + mlp.b_out

    return _in_parts(u, u, hard)


def _in_parts(u: Tensor, centre: Tensor, compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    pairs = zip(u.split(ROWS_AT_ONCE), centre.split(ROWS_AT_ONCE), strict=True)
    return torch.cat([compute(x, c) for x, c in pairs])


def stored(mlp: MLP, centres: int | None = None) -> int:
    """Count the numbers that so many centres with their maps take, N·(d_in + d_in·d_out + d_out), or the layer itself.

    A bias that is 0 throughout counts as none.
    """
    d_in, d_out = mlp.d_in, mlp.W_out.shape[1]
    if centres is not None:
        return centres * (d_in + d_in * d_out + d_out)
    biases = [b for b in (mlp.b_in, mlp.b_out, mlp.b_value) if b is not None and bool(b.any())]
    return multiplications(mlp) + sum(b.numel() for b in biases)


def multiplications(mlp: MLP, centres: int | None = None) -> int:
    """Count a row's multiplications: N·d_in to find the nearest centre and d_in·d_out for its map, or the layer's."""
    if centres is not None:
        return centres * mlp.d_in + mlp.d_in * mlp.W_out.shape[1]
    return mlp.W_in.numel() * (2 if mlp.is_gated else 1) + mlp.W_out.numel()
