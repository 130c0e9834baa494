"""The first parameters of a dictionary: unit decoder directions by name, the encoder a multiple of the decoder's
transpose (winnow/encoder_start.py), b_dec the middle of the activations (train/start/centre.py).

Register one function to add an initialisation: it gets a `StartData` and gives directions [n, d] of any norm but zero.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from train.architectures.step import Parameters
from train.settings import DictionarySettings
from train.start.centre import geometric_median
from winnow.config.experiment import LEAST_SQUARES
from winnow.encoder_start import encoder_gain

SAMPLE_ROWS = 16_384  # that directions may be computed from
KMEANS_ROUNDS = 10


@dataclass(frozen=True, kw_only=True)
class StartData:
    """What an initialisation may draw from; all of it depends on the settings alone."""

    n_latents: int
    generator: torch.Generator
    sample: Callable[[], Tensor]  # scaled activations [row, d] less their mean, the same rows at every call
    d_model: int
    # [d, input]: the matrix whose product the activations are (winnow/model/output_weights.py)
    weights: Callable[[], Tensor]

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)


Directions = Callable[[StartData], Tensor]
INITIALISATIONS: dict[str, Directions] = {}


def register(name: str) -> Callable[[Directions], Directions]:
    """Make a function available to the configuration under `name`."""

    def add(function: Directions) -> Directions:
        INITIALISATIONS[name] = function
        return function

    return add


@register("random")
def random(source: StartData) -> Tensor:
    """Draw unit vectors uniformly from the sphere."""
    return source.randn(source.n_latents, source.d_model)


@register("orthogonal")
def orthogonal(source: StartData) -> Tensor:
    """Draw orthonormal bases, one after the other, as many as give n vectors: a tight frame where d divides n."""
    bases = -(-source.n_latents // source.d_model)
    frames = [torch.linalg.qr(source.randn(source.d_model, source.d_model)).Q.T for _ in range(bases)]
    return torch.cat(frames)[: source.n_latents]


@register("samples")
def samples(source: StartData) -> Tensor:
    """Point at activations drawn at random, seen from the mean; slightly moved, so that no two are equal."""
    return _draw(source, source.n_latents)


@register("pca")
def pca(source: StartData) -> Tensor:
    """Point along the activations' principal directions and against them; beyond 2d, at what they leave over.

    Of an activation is left over what lies outside the leading principal directions that carry half of the variance.
    """
    x = source.sample()
    _, singular, components = torch.linalg.svd(x, full_matrices=False)
    signed = torch.stack([components, -components], dim=1).flatten(0, 1)[: source.n_latents]
    missing = source.n_latents - len(signed)
    if not missing:
        return signed
    leading = components[: 1 + int((singular.square().cumsum(0) < singular.square().sum() / 2).sum())]
    drawn = _draw(source, missing)
    left = drawn - drawn @ leading.T @ leading
    return torch.cat([signed, left + 1e-6 * source.randn(*left.shape)])


@register("basis")
def basis(source: StartData) -> Tensor:
    """Point along the coordinate axes and against them, in turns, with noise: for a basis that is privileged."""
    eye = torch.eye(source.d_model)
    signed = torch.cat([eye, -eye])
    return _noised(source, signed)


@register("singular")
def singular(source: StartData) -> Tensor:
    """Point along the left singular vectors of the output weight matrix and against them, with noise.

    What the layer writes lies along them, the largest first. Beyond twice the width they come again, with other noise.
    """
    left = torch.linalg.svd(source.weights().float(), full_matrices=False).U.T
    return _noised(source, torch.stack([left, -left], dim=1).flatten(0, 1))


@register("kmeans")
def kmeans(source: StartData) -> Tensor:
    """Point at the centres of spherical k-means on a sample of activations."""
    x = F.normalize(source.sample(), dim=1)
    centres = F.normalize(_draw(source, source.n_latents), dim=1)
    for _ in range(KMEANS_ROUNDS):
        nearest = (x @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, x)
        # a centre that nothing is nearest to stays where it is
        centres = F.normalize(torch.where(sums.norm(dim=1, keepdim=True) > 0, sums, centres), dim=1)
    return centres


def _noised(source: StartData, directions: Tensor) -> Tensor:
    """Repeat unit directions until there are n, and add noise of half their norm."""
    repeated = directions[torch.arange(source.n_latents) % len(directions)]
    return repeated + 0.5 / source.d_model**0.5 * source.randn(*repeated.shape)


def _draw(source: StartData, count: int) -> Tensor:
    x = source.sample()
    drawn = x[torch.randint(len(x), (count,), generator=source.generator)]
    return drawn + 1e-3 * source.randn(count, source.d_model)


def _no_weights() -> Tensor:
    raise AssertionError("this initialisation reads the model's weights, and was given none")


def first_directions(
    name: str,
    n_latents: int,
    d_model: int,
    seed: int,
    sample: Callable[[], Tensor],
    weights: Callable[[], Tensor] = _no_weights,
) -> Float[Tensor, "n d"]:
    """Compute unit decoder directions by the initialisation's name.

    Sizes of one seed share no random numbers: a comparison across sizes would find the directions they started from.
    """
    state = np.random.SeedSequence([seed, n_latents, d_model]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    source = StartData(n_latents=n_latents, generator=generator, sample=sample, d_model=d_model, weights=weights)
    return F.normalize(INITIALISATIONS[name](source), dim=1)


def initial_parameters(directions: Float[Tensor, "n d"], centre: Float[Tensor, " d"], gain: float = 1.0) -> Parameters:
    """Start the decoder at `directions`, the encoder at `gain` times them, and b_dec at `centre`."""
    return {
        "W_enc": directions * gain,
        "b_enc": directions.new_zeros(len(directions)),
        "W_dec": directions.clone(),
        "b_dec": centre.to(directions, copy=True),
    }


def first_parameters(
    settings: DictionarySettings,
    mean: Float[Tensor, " d"],
    sample: Callable[[], Tensor],
    weights: Callable[[], Tensor],
) -> Parameters:
    """Compute what a dictionary's settings say it starts from.

    mean: of the activations as they are trained on; sample: some of them, less their mean.
    """
    biased = settings.b_dec != "none"
    seen = sample if biased else lambda: sample() + mean  # from where the decoder starts: b_dec, or the origin
    directions = first_directions(settings.initialisation, settings.n_latents, len(mean), settings.seed, seen, weights)
    centre = mean + geometric_median(sample()).to(mean) if settings.b_dec == "geometric_median" else mean
    centre = centre if biased else torch.zeros_like(mean)
    start = settings.encoder_start
    centred = sample() + (mean - centre) if start == LEAST_SQUARES else torch.empty(0, len(mean))
    return initial_parameters(directions, centre, encoder_gain(start, directions, centred))
