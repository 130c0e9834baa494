"""Over which range of magnitudes a direction keeps its meaning, its distribution of validity: the experiment `scaling`.

A row is scaled at a hook, x → αx, at its own position alone, and the model goes on from there. Two controls have steps
of the same lengths: a random direction, x + |α−1|‖x‖v, and scaling about the mean of all rows, μ + α(x−μ), since a
large mean direction dominates residuals.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polytopes import bootstrap
from polytopes.interventions.patched import Position, open_position
from polytopes.quantiles import quantiles
from polytopes.reading.subject import Subject
from polytopes.scaling.scaled_clusters import NearestMember, clustering_at
from polytopes.scaling.validity import covers, factors, interval_below, interval_where, natural_range
from winnow.config.polytopes import PolytopesSettings, ScalingSettings
from winnow.spline.mlp import MLP

KINDS = ("scaled", "random", "about_mean")


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Scale rows at each hook, and measure what changes.

    rows, tolerance (nats); factors, the values of α; hooks: for each, hook and layer;
    kinds: of scaled, random and about_mean: kl, by quantile over rows a list over factors (mean, q05, …); top_kept, the
      share of rows whose most probable token stays, over factors; hamming, the share of bits of all later layers that
      differ from α = 1, by quantile as kl (null where no layer is later);
    boundaries: the number of later neurons; crossings: up and down, quantiles over rows of the bits that change along
      the grid from 1 to either end, a lower bound; exact (at mlp.hook_in; else null): up and down, those in the first
      layer alone, all roots found, and sampled_up and sampled_down as the grid finds them;
    validity: by criterion, kl and top (of scaled), cluster (stays with its cluster at the next layer; null where that
      was not clustered or no row is in a cluster), kl_random, kl_about_mean: low and high, quantiles over rows; of_row,
      the ends of each row [low, high]; at_edge, the shares of rows whose end is that of the grid; coverage, with value,
      low and high, the share of rows whose interval contains the natural range;
    natural: the range of norms of the row's cluster (of all rows, where it has none) over its own norm: low and high,
      quantiles over rows; clustering, by name or null; in_cluster, how many rows; clusters, of those with two scaled
      rows or more: cluster, rows, low and high, the medians of the interval by kl.
    """
    scaling = settings.scaling
    hooks = subject.hooks(scaling.hooks, "polytopes.scaling.hooks")
    rows = subject.choose(scaling.rows, "scaling")
    runs = {hook: _Hook(subject, hook, scaling) for hook in hooks}
    for row in rows.tolist():
        position = open_position(subject.model, subject.tokens_up_to(row))
        for hook in hooks:
            runs[hook].add(position, row)
    return {
        "rows": len(rows),
        "tolerance": scaling.tolerance,
        "factors": factors(scaling.octaves),
        "hooks": [runs[hook].summary(rows) for hook in hooks],
    }


class _OfRow(NamedTuple):
    """What one row shows; [kind, factor] each."""

    kl: Tensor
    top_kept: Tensor
    hamming: Tensor  # NaN where no layer is later
    crossings: tuple[int, int]  # down and up
    exact: tuple[int, int, int, int] | None  # down and up in the first layer, by roots and by the grid
    stays: Tensor | None  # [factor], with its cluster


class _Hook:
    """One hook, at which rows are scaled one after the other."""

    def __init__(self, subject: Subject, hook: str, settings: ScalingSettings) -> None:
        self.subject = subject
        self.hook = hook
        self.settings = settings
        self.layer = int(hook.split(".")[1]) if hook.startswith("blocks.") else 0
        self.alpha = factors(settings.octaves)
        self.later = later_layers(subject, hook)
        self.values = subject.values(hook)
        self.mean = self.values.double().mean(0)
        self.found: list[_OfRow] = []
        following = self.later[0] if self.later else None
        self.nearest = None if following is None else NearestMember.of(subject, following)

    @torch.no_grad()
    def add(self, position: Position, row: int) -> None:
        """Scale one row."""
        x = self.values[row].double()
        direction = torch.from_numpy(self.subject.random("scaling", self.hook, str(row)).standard_normal(len(x)))
        variants = variants_of(x, self.alpha, self.mean, direction)
        watched = [f"blocks.{layer}.mlp.hook_pre" for layer in self.later]
        extra = [] if self.nearest is None else self.nearest.hooks
        seen = position.run(self.hook, variants.flatten(0, 1).float(), list(dict.fromkeys([*watched, *extra])))
        log_q = seen.logits.double().log_softmax(-1).cpu().unflatten(0, (len(KINDS), -1))
        clean = log_q[0, len(self.alpha) // 2]
        kl = (clean.exp() * (clean - log_q)).sum(-1).clamp(min=0)
        kept = log_q.argmax(-1) == clean.argmax()
        bits = [(seen.values[name] > 0).cpu().unflatten(0, (len(KINDS), -1)) for name in watched]
        every = torch.cat(bits, -1) if bits else torch.zeros(*kl.shape, 0, dtype=torch.bool)
        hamming = (every != every[0, len(self.alpha) // 2]).double().mean(-1)
        exact = None
        if self.hook.endswith("mlp.hook_in") and bits:
            exact = (*ray_crossings(self.subject.mlp(self.layer), x, self.alpha), *_changes(bits[0][0]))
        stays = None if self.nearest is None else self.nearest.stays(seen.values, len(self.alpha), row)
        self.found.append(_OfRow(kl, kept, hamming, _changes(every[0]), exact, stays))

    def summary(self, rows: Tensor) -> dict[str, Any]:
        """Put the rows together."""
        kl = torch.stack([one.kl for one in self.found])  # [row, kind, factor]
        kept = torch.stack([one.top_kept for one in self.found])
        hamming = torch.stack([one.hamming for one in self.found])
        name, cluster = clustering_at(self.subject, self.layer)
        norms = self.values.double().norm(dim=1)
        natural, in_cluster = natural_range(norms, cluster, rows)
        tolerance = self.settings.tolerance
        intervals = {"kl": interval_below(kl[:, 0], self.alpha, tolerance)}
        intervals["top"] = interval_where(kept[:, 0], self.alpha)
        for number, kind in enumerate(KINDS[1:], start=1):
            intervals[f"kl_{kind}"] = interval_below(kl[:, number], self.alpha, tolerance)
        stays = self._stays()
        if stays is not None:
            intervals["cluster"] = interval_where(stays, self.alpha)
        validity = {criterion: self._describe(ends, natural) for criterion, ends in intervals.items()}
        return {
            "hook": self.hook,
            "layer": self.layer,
            "kinds": {
                kind: {
                    "kl": _over_factors(kl[:, number]),
                    "top_kept": kept[:, number].double().mean(0),
                    "hamming": _over_factors(hamming[:, number]) if self.later else None,
                }
                for number, kind in enumerate(KINDS)
            },
            "boundaries": sum(self.subject.mlp(layer).n for layer in self.later),
            "crossings": _two([one.crossings for one in self.found], ("down", "up")),
            "exact": self._exact(),
            "validity": {"cluster": None, **validity},
            "natural": {
                "low": quantiles(natural[:, 0]),
                "high": quantiles(natural[:, 1]),
                "clustering": name,
                "in_cluster": int(in_cluster.sum()),
                "clusters": _of_clusters(intervals["kl"], cluster, rows),
            },
        }

    def _describe(self, ends: Float[Tensor, "row 2"], natural: Float[Tensor, "row 2"]) -> dict[str, Any]:
        covered = covers(ends, natural).numpy()
        seed = int(self.subject.random("scaling", self.hook, "bootstrap").integers(2**31))
        edges = (self.alpha[0], self.alpha[-1])
        return {
            "low": quantiles(ends[:, 0]),
            "high": quantiles(ends[:, 1]),
            "of_row": ends,
            "at_edge": [((ends[:, side] - edge).abs() < 1e-9).double().mean() for side, edge in enumerate(edges)],
            "coverage": bootstrap.mean(covered, np.arange(len(covered)), seed)._asdict(),
        }

    def _stays(self) -> Tensor | None:
        """Give whether each row stays with its cluster; none at any factor for a row that is in none."""
        found = [one.stays for one in self.found if one.stays is not None]
        if not found:
            return None
        outside = torch.zeros(len(self.alpha), dtype=torch.bool)
        return torch.stack([outside if one.stays is None else one.stays for one in self.found])

    def _exact(self) -> dict[str, Any] | None:
        counts = [one.exact for one in self.found if one.exact is not None]
        return _two(counts, ("down", "up", "sampled_down", "sampled_up")) if counts else None


def later_layers(subject: Subject, hook: str) -> list[int]:
    """List the layers of the model whose codes may depend on what stands at a hook."""
    every = range(sum(name.endswith(".hook_resid_post") for name in subject.model.hooks))
    if not hook.startswith("blocks."):
        return list(every)
    layer = int(hook.split(".")[1])
    before_its_gate = hook.endswith((".mlp.hook_in", ".hook_resid_pre", ".hook_attn_out"))
    return [other for other in every if other > layer or (other == layer and before_its_gate)]


def variants_of(
    x: Float[Tensor, " width"],
    alpha: Float[Tensor, " factor"],
    mean: Float[Tensor, " width"],
    direction: Float[Tensor, " width"],
) -> Float[Tensor, "kind factor width"]:
    """Scale a row, step as far in a direction, and scale it about the mean: the kinds of `KINDS`."""
    scale = alpha[:, None]
    random = x + (scale - 1).abs() * x.norm() * direction / direction.norm()
    return torch.stack([scale * x, random, mean + scale * (x - mean)])


def ray_crossings(mlp: MLP, u: Float[Tensor, " d"], alpha: Float[Tensor, " factor"]) -> tuple[int, int]:
    """Count the boundaries that αu crosses from 1 down to the least factor and up to the largest: −b_i/(u·w_i)."""
    roots = -mlp.b_in.double() / (u.to(mlp.W_in.device) @ mlp.W_in.double())
    low, high = alpha[0].item(), alpha[-1].item()
    return int(((roots > low) & (roots < 1)).sum()), int(((roots > 1) & (roots < high)).sum())


def _changes(bits: Tensor) -> tuple[int, int]:
    """Count the bits that change along the grid, [factor, n], below its middle and above."""
    changes = (bits[1:] != bits[:-1]).sum(-1)
    middle = len(changes) // 2
    return int(changes[:middle].sum()), int(changes[middle:].sum())


def _two(counts: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    columns = torch.tensor(counts, dtype=torch.float64)
    return {name: quantiles(columns[:, number]) for number, name in enumerate(names)}


def _over_factors(values: Float[Tensor, "row factor"]) -> dict[str, list[float | None]]:
    found = [quantiles(column) for column in values.T]
    return {name: [one[name] for one in found] for name in found[0]}


def _of_clusters(ends: Tensor, cluster: Tensor | None, rows: Tensor) -> list[dict[str, Any]]:
    if cluster is None:
        return []
    of_row = cluster[rows]
    several = [number for number in of_row.unique().tolist() if number >= 0 and (of_row == number).sum() > 1]
    return [
        {
            "cluster": number,
            "rows": int((of_row == number).sum()),
            "low": ends[of_row == number, 0].nanmedian(),
            "high": ends[of_row == number, 1].nanmedian(),
        }
        for number in several
    ]
