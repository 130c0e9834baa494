"""Resampling (Bricken et al. 2023, Towards monosemanticity, "Neuron resampling"): dead latents start anew, pointed at
rows that the dictionary reconstructs badly.

At every multiple of `resample_rows`, a latent that has not fired for half as many rows is dead. For each one a row of
the batch is drawn, without replacement, with probability ∝ ‖x − x̂‖⁴, the square of its loss. Its decoder direction
becomes that of x − b_dec, its encoder the same with 0.2 × the mean norm of the living latents' encoders, its biases 0,
and Adam's averages for it are 0. In a tied dictionary the encoder is the decoder, of unit norm. If there are more dead
latents than rows, the rest wait for the next time.

The last resampling is at least `resample_rows` before the learning rate falls: a latent that had no time to learn is
worse than a dead one. The draw is a pure function of the dictionary's seed and size, and of the rows seen.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from train.learner import Learner
from train.plan import AUTO
from train.schedule import Schedule, fewest_rows
from train.settings import DictionarySettings

ENCODER_NORM = 0.2
CHUNK = 1024  # rows whose losses are computed at once


def rows_between(settings: DictionarySettings) -> int:
    """Return the rows between resamplings; 0 if there are none."""
    if settings.resample_rows == AUTO:
        return max(1, int(fewest_rows(settings)) // 8)  # an eighth of the fewest rows that it sees
    return settings.resample_rows or 0


def resample_due(settings: DictionarySettings, schedule: Schedule, before: int, rows: int) -> bool:
    """Tell whether the step that took the rows [before, rows) is one after which dead latents are resampled."""
    every = rows_between(settings)
    return every > 0 and rows // every > before // every and rows + every <= schedule.falls_from


@torch.no_grad()
def resample(learner: Learner, x: Float[Tensor, "row d"]) -> int:
    """Point dead latents at rows of `x` that are reconstructed badly; return how many."""
    settings, p, collectives = learner.planned.settings, learner.parameters, learner.architecture.collectives
    dead = learner.silent_rows >= rows_between(settings) // 2
    # if several processes share a dictionary, its dead latents are numbered across all of them
    counts = collectives.all_gather(dead.count_nonzero().view(1)).tolist()
    if not sum(counts):
        return 0
    weights = _losses(learner, x)
    weights = (weights / weights.amax().clamp(min=1e-300)).square()
    total = min(sum(counts), int(weights.count_nonzero()))
    if not total:
        return 0
    drawn = torch.multinomial(weights, total, generator=_generator(settings, learner.rows))
    first = sum(counts[: collectives.rank])
    rows = drawn[first : first + counts[collectives.rank]].to(x.device)
    wanted = dead.nonzero().squeeze(1)[: len(rows)]
    directions = F.normalize(x[rows] - p["b_dec"], dim=1)
    p["W_dec"][wanted] = directions
    if "W_enc" in p:
        norms = p["W_enc"].norm(dim=1).double()
        living = norms * ~dead if sum(counts) < len(dead) * collectives.ranks else norms
        norm = collectives.all_reduce(living.sum()) / collectives.all_reduce((living > 0).sum())
        p["W_enc"][wanted] = ENCODER_NORM * norm.float() * directions
    for name in {"b_enc", "b_mag", "r_mag"} & p.keys():
        p[name][wanted] = 0
    for name, average in learner.averages.items():
        if name != "b_dec":  # the others have a row, or an entry, per latent
            average[wanted] = 0
            learner.squares[name][wanted] = 0
    learner.silent_rows[wanted] = 0
    learner.resampled += total
    return total


def _losses(learner: Learner, x: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
    """Compute ‖x − x̂‖² of each row; float64 on the CPU."""
    dictionary, collectives = learner.dictionary(1.0), learner.architecture.collectives
    losses = []
    for part in x.split(CHUNK):
        decoded = collectives.all_reduce(dictionary.encode(part) @ dictionary.W_dec)
        losses.append(decoded.add_(dictionary.b_dec).sub_(part).square_().sum(1))
    return torch.cat(losses).double().cpu()


def _generator(settings: DictionarySettings, rows: int) -> torch.Generator:
    words = np.random.SeedSequence([settings.seed, settings.n_latents, rows]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))
