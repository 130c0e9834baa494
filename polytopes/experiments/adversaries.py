"""Whether the small steps that change the output most cross many boundaries, beside steps that go as far.

A step that changes the output moves far downstream, and what moves far crosses boundaries. So an adversary's crossings
stand beside those of random steps of the same length, of steps drawn with the data's covariance, and of random steps
made so long that their way in pre-activations, or their KL divergence, is the adversary's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytopes import bootstrap
from polytopes.experiments.scaling import later_layers
from polytopes.interventions.patched import Position, open_position
from polytopes.lines.steps import STARTS, Forward, Steps, ascend, measure_steps, on_sphere, scale_to_kl, scale_to_path
from polytopes.reading.subject import Subject
from winnow.config.polytopes import PolytopesSettings
from winnow.errors import UserError

RANDOM = 8  # steps of each kind but the adversary
KINDS = ("adversary", "random", "covariance", "random_at_path", "random_at_kl")
SHOWN = 200  # points of each kind in the figure, at most

Found = dict[str, Float[np.ndarray, "step 4"]]  # by kind: kl, flip, crossings, path; NaN for steps that do not exist


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Measure adversaries and their controls at every hook and length.

    tables: for each hook and relative_norm
      rows; layers: those whose boundaries are counted;
      kinds: for adversary, random, covariance, random_at_path and random_at_kl the means kl, flips, crossings, path
        and per_path (crossings per unit of path), each {value, low, high}, and kl_median; for the last two scale, the
        median factor by which steps became longer, and reached, the share of steps that a factor was found for;
      ratios: for each control {crossings, per_path} of adversaries over those of the control, {value, low, high};
      spearman: of KL and crossings among a row's random steps, {value, low, high};
      points: for each kind {kl, crossings} of single steps.
    Intervals are a bootstrap over the rows' predictions.
    """
    hooks = subject.hooks(settings.adversaries.hooks, "polytopes.adversaries.hooks")
    later = {hook: _later(subject, hook) for hook in hooks}
    norms = settings.adversaries.relative_norms
    rows = subject.choose(settings.adversaries.rows, "adversaries")
    label = subject.rows.prediction[rows].numpy()
    tables = []
    for hook in hooks:
        values = subject.values(hook)
        found: list[list[tuple[Found, dict[str, float]]]] = []
        for row in rows.tolist():
            forward = _forward(open_position(subject.model, subject.tokens_up_to(row)), hook, later[hook])
            x = values[row].to(subject.model.device)
            found.append(
                [measure_row(forward, x, norm, values, [subject.seed, row, i]) for i, norm in enumerate(norms)]
            )
        for number, norm in enumerate(norms):
            of_norm = [of_row[number] for of_row in found]
            summary = summarise([row for row, _ in of_norm], [scale for _, scale in of_norm], label, subject.seed)
            tables.append({"hook": hook, "relative_norm": norm, "layers": later[hook], **summary})
    return {"tables": tables}


def _later(subject: Subject, hook: str) -> list[int]:
    found = later_layers(subject, hook)
    if not found:
        raise UserError(
            f"polytopes.adversaries.hooks = {hook}: no boundary lies behind it; name a hook before the last layer's MLP"
        )
    return found


def _forward(position: Position, hook: str, layers: Sequence[int]) -> Forward:
    watched = [f"blocks.{layer}.mlp.hook_pre" for layer in layers]

    def forward(values: Tensor) -> tuple[Tensor, Tensor]:
        seen = position.run(hook, values, watched)
        return seen.logits, torch.cat([seen.values[name] for name in watched], 1)

    return forward


def measure_row(
    forward: Forward, x: Float[Tensor, " d"], relative_norm: float, others: Float[Tensor, "row d"], seed: list[int]
) -> tuple[Found, dict[str, float]]:
    """Measure an adversary and its controls at one row; also give how much longer the scaled ones became.

    relative_norm: length of the steps as a share of ‖x‖. others: rows at the same hook, for their covariance.
    """
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    length = relative_norm * x.norm().item()

    def normal(count: int, width: int) -> Tensor:
        return torch.randn(count, width, generator=generator).to(x)

    adversary = ascend(forward, x, length, normal(STARTS, len(x)))
    random = on_sphere(normal(RANDOM, len(x)), length)
    around = (others - others.mean(0)).to(x)
    covariance = on_sphere(normal(RANDOM, len(around)) @ around, length)
    found = {
        "adversary": measure_steps(forward, x, adversary[None]),
        "random": measure_steps(forward, x, random),
        "covariance": measure_steps(forward, x, covariance),
    }
    target = found["adversary"]
    found["random_at_path"], path_scale = scale_to_path(forward, x, random, found["random"], target.path.item())
    kl_scale = scale_to_kl(forward, x, random, target.kl.item())
    reached = ~kl_scale.isnan()
    scaled = measure_steps(forward, x, random * kl_scale.nan_to_num(1.0)[:, None].to(random))
    rows = {kind: _columns(steps) for kind, steps in found.items()}
    rows["random_at_kl"] = np.where(reached[:, None].numpy(), _columns(scaled), np.nan)
    scales = {"random_at_path": path_scale.mean().item(), "random_at_kl": kl_scale.nanmean().item()}
    return rows, scales


def _columns(steps: Steps) -> np.ndarray:
    return torch.stack([column.double() for column in steps], 1).numpy()


def summarise(
    rows: list[Found], scales: list[dict[str, float]], label: Int[np.ndarray, " row"], seed: int
) -> dict[str, Any]:
    """Sum up what was found at some rows; intervals by a bootstrap over labels."""
    every = {kind: np.stack([row[kind] for row in rows]) for kind in KINDS}  # [row, step, 4]
    means = {kind: _row_means(found) for kind, found in every.items()}  # [row, 4]
    kinds: dict[str, Any] = {}
    for kind, found in means.items():
        kl, flip, crossings, path = found.T
        kinds[kind] = {
            "kl": bootstrap.mean(kl, label, seed)._asdict(),
            "kl_median": None if np.isnan(kl).all() else float(np.nanmedian(every[kind][..., 0])),
            "flips": bootstrap.mean(flip, label, seed)._asdict(),
            "crossings": bootstrap.mean(crossings, label, seed)._asdict(),
            "path": bootstrap.mean(path, label, seed)._asdict(),
            "per_path": bootstrap.ratio(_known(crossings), _known(path), label, seed)._asdict(),
        }
        if kind in scales[0]:
            longer = np.array([one[kind] for one in scales])
            kinds[kind]["scale"] = None if np.isnan(longer).all() else float(np.nanmedian(longer))
            kinds[kind]["reached"] = float(np.isfinite(every[kind][..., 0]).mean())
    spearman = np.array([_rank_correlation(found[:, 0], found[:, 2]) for found in every["random"]])
    return {
        "rows": len(rows),
        "kinds": kinds,
        "ratios": _ratios(means, label, seed),
        "spearman": bootstrap.mean(spearman, label, seed)._asdict(),
        "points": {kind: dict(_points(found)) for kind, found in every.items()},
    }


def _ratios(means: Found, label: np.ndarray, seed: int) -> dict[str, Any]:
    """The adversaries' crossings over those of each control, and the same per unit of way downstream."""
    found = {}
    for kind in KINDS[1:]:
        pairs = np.concatenate([means["adversary"][:, 2:], means[kind][:, 2:]], 1)  # crossings, path, crossings, path
        pairs = np.where(np.isfinite(pairs).all(1, keepdims=True), pairs, 0.0)
        found[kind] = {
            "crossings": bootstrap.of_sums(pairs, label, seed, lambda s: s[..., 0] / s[..., 2])._asdict(),
            "per_path": bootstrap.of_sums(
                pairs, label, seed, lambda s: s[..., 0] * s[..., 3] / (s[..., 1] * s[..., 2])
            )._asdict(),
        }
    return found


def _row_means(found: np.ndarray) -> np.ndarray:
    """The mean of each row's steps that exist."""
    exists = np.isfinite(found)
    counts = exists.sum(1)
    return np.where(counts > 0, np.where(exists, found, 0.0).sum(1) / np.maximum(counts, 1), np.nan)


def _known(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)


def _rank_correlation(kl: np.ndarray, crossings: np.ndarray) -> float:
    """Spearman's; NaN where one of them is always the same."""
    from scipy.stats import rankdata

    first, second = rankdata(kl), rankdata(crossings)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _points(found: np.ndarray) -> Iterator[tuple[str, list[float]]]:
    """KL and crossings of single steps for the figure, evenly chosen."""
    flat = found[np.isfinite(found).all(2)]
    chosen = flat[np.unique(np.linspace(0, len(flat) - 1, min(SHOWN, len(flat))).astype(int))] if len(flat) else flat
    yield "kl", [float(f"{value:.4g}") for value in chosen[:, 0]]
    yield "crossings", [int(value) for value in chosen[:, 2]]
