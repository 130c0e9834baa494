"""Which dictionaries each rank of a job trains; this module does not import torch."""

from collections.abc import Sequence

from train.plan import Planned
from winnow.runtime.ranks import Ranks


def share_of(planned: Sequence[Planned], ranks: Ranks) -> list[Planned]:
    """Return this rank's share, so that all have about the same work; every rank computes the same division.

    Work is counted in latents. The largest dictionaries are dealt first, each to the rank that has the least work.
    """
    work = [0] * ranks.total
    mine = []
    for dictionary in sorted(planned, key=lambda p: -p.settings.n_latents):
        rank = work.index(min(work))
        work[rank] += dictionary.settings.n_latents
        if rank == ranks.rank:
            mine.append(dictionary)
    return sorted(mine, key=list(planned).index)
