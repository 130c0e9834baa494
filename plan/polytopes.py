"""How long the stage polytopes takes: forward passes over text, passes of one position, and products of matrices.

Operations are counted roughly: what is small beside these is left out.
"""

from typing import NamedTuple

from plan.machine import Machine
from winnow.config.experiment import Experiment
from winnow.config.polytopes import PolytopesSettings
from winnow.positions import most_per_sequence

HARDENED = 32  # sequences on which losses are measured
SHARPNESS = 5  # of all layers together, besides the model itself
EFFECT_PASSES = 16 * 32 * 3  # of one position, a layer: rows, labels, and a backward pass
KINDS = 3  # of scaling
LINES = 8  # a pair of one label: itself, its match, four controls
STEPS = 600  # of one position, a row of the adversaries: ascent, and 17 points of every step
CLUSTERINGS = 5  # of a representation: rows, two draws, controls
OVERHEAD = 3  # what passes of one position and clustering take beside their products


class LayerShape(NamedTuple):
    """The sizes of a model that the experiments depend on."""

    layers: int
    d_model: int
    neurons: int
    flops_per_token: float  # of a whole forward pass


class PolytopeTime(NamedTuple):
    """Seconds of each part, one after another."""

    reading: float  # values and predictions, of the model and its twin; losses of hardened gates
    positions: float  # variants of single positions
    products: float  # maps, lines, distances, lookups

    @property
    def total(self) -> float:
        return sum(self)


def polytope_time(config: Experiment, asked: PolytopesSettings, shape: LayerShape, m: Machine) -> PolytopeTime:
    """Estimate the stage for the experiments that are asked for."""
    context = config.text.context
    layers = shape.layers if asked.layers == "all" else len(asked.layers)
    made = set(asked.experiments)
    d, n, rows = shape.d_model, shape.neurons, asked.rows
    sequences = rows / most_per_sequence(asked.positions, context)
    tokens = sequences * context * (2 if asked.untrained else 1)
    if "codes" in made:
        tokens += (layers + SHARPNESS + 1) * HARDENED * context
    if "regions" in made:
        tokens += asked.regions.rows / most_per_sequence(asked.positions, context) * context
    variants = 0.0
    if "maps" in made:
        variants += EFFECT_PASSES * layers
    if "scaling" in made:
        variants += _hooks(asked.scaling.hooks, layers) * asked.scaling.rows * KINDS * (8 * asked.scaling.octaves + 1)
    if "adversaries" in made:
        steps = asked.adversaries.rows * len(asked.adversaries.relative_norms) * STEPS
        variants += _hooks(asked.adversaries.hooks, layers) * steps
    products = 0.0
    if "maps" in made:
        products += layers * 2 * n * n * (2 * d + 4 * rows)
    if "density" in made:
        products += layers * len(asked.density.labels) * LINES * asked.density.pairs * 20 * d * n
    if "clusters" in made:
        products += len(asked.clusters.representations) * CLUSTERINGS * 2 * asked.clusters.rows**2 * n * OVERHEAD
    if "regions" in made:
        products += layers * len(asked.regions.centres) * 20 * asked.regions.rows * d * d
    rate = m.flops["float32"] * m.share
    return PolytopeTime(
        reading=tokens * shape.flops_per_token / (m.flops[config.model.dtype] * m.share),
        positions=OVERHEAD * variants * shape.flops_per_token / rate,
        products=products / rate,
    )


def _hooks(patterns: list[str], layers: int) -> int:
    return sum(layers if "*" in pattern else 1 for pattern in patterns)
