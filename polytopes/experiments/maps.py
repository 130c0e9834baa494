"""How different the maps of neighbouring polytopes are: the experiment `maps`.

A jump J_i = ‖w_i‖‖o_i‖ alone says little, since weights may have any scale. So it is shown relative to the layer's map
(ρ), weighted by how often rows differ in it (κ), and beside its effect on the model's output (E).
"""

from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from polytopes.interventions.patched import open_position
from polytopes.maps.effects import EffectsOfRow, effects_at
from polytopes.quantiles import quantiles
from polytopes.reading.subject import Subject
from winnow.config.polytopes import PolytopesSettings
from winnow.errors import UserError
from winnow.spline.maps import (
    crossing_rates,
    flips,
    full_share,
    jumps,
    kernel,
    map_norms,
    relative_jumps,
)

ROWS_AT_ONCE = 512
EFFECT_ROWS = 16
PAIRS = 4_000
DRAWS = 1_000  # of the bootstrap
BINS = 40
SHOWN = 1_000  # neurons in the scatter of E against J


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Measure, for every layer, how far crossing a boundary changes the map, and the output.

    reason: why layers and untrained are null, where maps are quadratic given the code; else null.
    layers, untrained (of the twin, without effects; null without one): for each layer, layer; rho, quantiles over
    neurons of ρ's mean over rows, and rho_histogram with counts of neurons and edges; jumps and kappa, quantiles over
    neurons; map_norm, quantiles of ‖A_p‖ over rows; flips, of the value maps: independent, observed and ratio (1 where
    neurons flip independently of each other); hard_flips, the same of the maps of on/off bits; sharpness, the share of
    differing bits between two random rows that go from p < .1 to p > .9, of so many pairs; effects: rows and labels
    drawn for each; relative, quantiles over rows and neurons of E_i relative to the whole map's effect; spearman, the
    rank correlation with J over neurons of the mean effect (of_mean) and, on average, of a row's (of_row, with low and
    high, 95 % by bootstrap over rows); scatter, of some neurons:
    neuron, jump, effect (mean over rows, relative) and kappa.
    """
    quadratic = _why_not(subject)
    if quadratic is not None:
        return {"reason": quadratic, "layers": None, "untrained": None}
    effects = _effects(subject)
    layers = [{**_of_layer(subject, layer), "effects": effects[layer]} for layer in subject.layers]
    twin = subject.twin
    return {
        "reason": None,
        "layers": layers,
        "untrained": None if twin is None else [_of_layer(twin, layer) for layer in twin.layers],
    }


def _why_not(subject: Subject) -> str | None:
    try:
        for layer in subject.layers:
            subject.mlp(layer).refuse_quadratic_maps()
    except UserError as error:
        return str(error)
    return None


@torch.no_grad()
def _of_layer(subject: Subject, layer: int) -> dict[str, Any]:
    mlp, h = subject.mlp(layer), subject.pre(layer).to(subject.mlp(layer).W_in)
    K, on = kernel(mlp), (h > 0)
    soft, hard = mlp.gate.weight(h), mlp.gate.weight(h, float("inf"))
    rho = _mean_relative_jumps(K, soft, mlp.gate.off)
    p = mlp.gate.code(h)
    draw = subject.random("maps", "pairs", str(layer))
    first, second = (torch.from_numpy(draw.integers(len(h), size=PAIRS)) for _ in range(2))
    counts, edges = np.histogram(rho.cpu().numpy(), bins=BINS)
    return {
        "layer": layer,
        "rho": quantiles(rho.cpu()),
        "rho_histogram": {"counts": counts, "edges": edges},
        "jumps": quantiles(jumps(mlp).cpu()),
        "kappa": quantiles(crossing_rates(on).cpu()),
        "map_norm": quantiles(map_norms(K, soft).cpu()),
        "flips": _flips(K, soft),
        "hard_flips": _flips(K, hard),
        "sharpness": full_share(p[first], p[second]),
        "pairs": PAIRS,
    }


def _flips(K: Tensor, p: Tensor) -> dict[str, float]:
    found = flips(K, p)
    return {**found._asdict(), "ratio": found.ratio}


def _mean_relative_jumps(K: Tensor, p: Tensor, off: float) -> Tensor:
    total = torch.zeros(len(K), dtype=torch.float64, device=K.device)
    for part in p.split(ROWS_AT_ONCE):
        total += relative_jumps(K, part, off).double().sum(0)
    return total / len(p)


def _effects(subject: Subject) -> dict[int, dict[str, Any]]:
    """Measure the effects of every layer's boundaries at some rows, each row's text run once for all layers."""
    rows = subject.choose(EFFECT_ROWS, "maps", "effects")
    found: dict[int, list[EffectsOfRow]] = {layer: [] for layer in subject.layers}
    for row in rows.tolist():
        position = open_position(subject.model, subject.tokens_up_to(row))
        for layer in subject.layers:
            mlp, hook = subject.mlp(layer), f"blocks.{layer}.hook_resid_post"
            value = subject.values(hook)[row]
            p = mlp.gate.weight(mlp.pre(subject.hook_input(layer)[row]))
            seed = int(subject.random("maps", "labels", str(layer), str(row)).integers(2**62))
            found[layer].append(effects_at(position, hook, value, mlp, p, seed))
    return {layer: _summary(subject, layer, of_rows) for layer, of_rows in found.items()}


def _summary(subject: Subject, layer: int, of_rows: list[EffectsOfRow]) -> dict[str, Any]:
    relative = torch.stack([found.relative for found in of_rows])  # [row, n]
    jump = jumps(subject.mlp(layer)).cpu()
    draw = subject.random("maps", "bootstrap", str(layer))
    of_row = np.array([_rank_correlation(row, jump) for row in relative])
    drawn = of_row[draw.integers(len(of_row), size=(DRAWS, len(of_row)))].mean(1)
    neurons = np.sort(draw.permutation(len(jump))[:SHOWN])
    kappa = crossing_rates(subject.code(layer))
    return {
        "rows": len(relative),
        "labels": of_rows[0].labels,
        "relative": quantiles(relative),
        "spearman": {
            "of_mean": _rank_correlation(relative.mean(0), jump),
            "of_row": of_row.mean(),
            "low": np.quantile(drawn, 0.025),
            "high": np.quantile(drawn, 0.975),
        },
        "scatter": {
            "neuron": neurons,
            "jump": jump[neurons],
            "effect": relative.mean(0)[neurons],
            "kappa": kappa[neurons],
        },
    }


def _rank_correlation(effect: Tensor, jump: Tensor) -> float:
    return float(spearmanr(effect.numpy(), jump.numpy())[0])  # type: ignore[arg-type]
