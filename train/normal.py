"""Normal rows: the noise of denoising dictionaries, and the rows of Gaussian controls.

Every number is a pure function of (seed, stream, row number), so a training that resumes sees the same rows, whatever
stands in its batches. Rows are drawn in blocks, each from a generator of its own, on the device they are used on.

A Gaussian control sees rows of the activations' mean and covariance, the covariance of up to `MOMENT_ROWS` rows that
are trained on. They have no features: what a metric gives the control it gives for nothing.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from train.loader import Loader

BLOCK = 1024  # rows of a generator
MOMENT_ROWS = 65_536  # of which variance and covariance are estimated
CHUNK = 4096  # of them that are held in float64
NOISE, GAUSSIAN, HELD_OUT = 1, 2, 3  # streams that share no number


class NormalRows:
    """A stream of rows of independent standard normal numbers."""

    def __init__(self, width: int, seed: int, stream: int, device: torch.device) -> None:
        self.width = width
        self.words = [seed, stream, width]
        self.generator = torch.Generator(device)
        self._last: tuple[int, Tensor] | None = None  # small batches use a block several times

    def read(self, start: int, stop: int) -> Float[Tensor, "row d"]:
        """Return the rows [start, stop) of the stream, float32 on its device."""
        numbers = range(start // BLOCK, -(-stop // BLOCK))
        parts = [self._block(n)[max(0, start - n * BLOCK) : stop - n * BLOCK] for n in numbers]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _block(self, number: int) -> Float[Tensor, "row d"]:
        if self._last is None or self._last[0] != number:
            # number + 1: numpy takes [seed, …, 0] for [seed, …]
            words = np.random.SeedSequence([*self.words, number + 1]).generate_state(1, np.uint64)
            self.generator.manual_seed(int(words[0]))
            self._last = number, self._drawn()
        return self._last[1]

    def _drawn(self) -> Float[Tensor, "row d"]:
        device = self.generator.device
        return torch.randn(BLOCK, self.width, generator=self.generator, device=device)


class GaussianRows(NormalRows):
    """A stream of rows of a mean and a covariance, given by its symmetric root."""

    def __init__(self, mean: Float[Tensor, " d"], root: Float[Tensor, "d d"], seed: int, stream: int) -> None:
        super().__init__(len(mean), seed, stream, mean.device)
        self.mean, self.root = mean, root

    def _drawn(self) -> Float[Tensor, "row d"]:
        # of whole blocks: the last bits of a product depend on how many rows it has
        return super()._drawn() @ self.root + self.mean


class FirstRows(NamedTuple):
    """The first rows of a stream, to evaluate on."""

    stream: NormalRows
    rows: int
    batch_rows: int

    def batches(self) -> Iterator[Float[Tensor, "row d"]]:
        """Yield them in order."""
        for start in range(0, self.rows, self.batch_rows):
            yield self.stream.read(start, min(start + self.batch_rows, self.rows))


class Drawn:
    """The normal rows that the dictionaries of one hook may ask for; made when they are first asked for."""

    def __init__(self, loader: Loader, scale: float, mean: Float[Tensor, " d"]) -> None:
        self.loader = loader
        self.scale = scale  # of the activations; mean: of the scaled ones, on the device
        self.mean = mean
        self.seed = loader.order.seed

    def noise(self, start: int, stop: int) -> Float[Tensor, "row d"]:
        """Return noise for rows [start, stop), each dimension with the activations' standard deviation.

        That is the root of the mean of their variances over dimensions.
        """
        return self._noise.read(start, stop) * self._deviation

    @cached_property
    def gaussian(self) -> GaussianRows:
        """The rows of Gaussian controls."""
        return GaussianRows(self.mean, self._root, self.seed, GAUSSIAN)

    def held_out(self, rows: int, batch_rows: int) -> FirstRows:
        """Return rows that they are evaluated on."""
        return FirstRows(GaussianRows(self.mean, self._root, self.seed, HELD_OUT), rows, batch_rows)

    @cached_property
    def _noise(self) -> NormalRows:
        return NormalRows(len(self.mean), self.seed, NOISE, self.mean.device)

    @cached_property
    def _deviation(self) -> float:
        squares, total, count = 0.0, torch.zeros(len(self.mean), dtype=torch.float64), 0
        for part in self._sample():
            squares += float(part.square().sum())
            total += part.sum(0)
            count += len(part)
        variance = squares / count - float((total / count).square().sum())
        return (max(variance, 0.0) / len(self.mean)) ** 0.5

    @cached_property
    def _root(self) -> Float[Tensor, "d d"]:
        d = len(self.mean)
        square, total, count = torch.zeros(d, d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64), 0
        for part in self._sample():
            square.addmm_(part.T, part)
            total += part.sum(0)
            count += len(part)
        mean = total / count
        values, vectors = torch.linalg.eigh(square / count - torch.outer(mean, mean))
        return (vectors * values.clamp(min=0).sqrt() @ vectors.T).to(self.mean)

    def _sample(self) -> Iterator[Tensor]:
        """Read rows from all over the store, scaled, less the mean: their squares then lose no digits."""
        mean = self.mean.cpu().double()
        for part in self.loader.spread(MOMENT_ROWS).split(CHUNK):
            yield part.double().mul_(self.scale).sub_(mean)
