"""Which dictionaries each rank of a job trains; this module does not import torch."""

from collections.abc import Iterable, Sequence

from train.plan import SHARDS, Planned
from winnow.errors import UserError
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


def refuse_other_sharing(planned: Iterable[Planned], processes: int) -> None:
    """Raise `UserError` for a dictionary that was begun with another number of processes than share it now."""
    for dictionary in planned:
        folder = dictionary.folder
        begun = {int(path.name.rpartition("-")[2]) for path in (folder / SHARDS).glob("*-of-*")}
        begun |= {1} if any((folder / "checkpoints").glob("rows-*")) else set()
        for other in begun - {processes}:
            raise UserError(
                f"{folder}: was begun by {other} {'process' if other == 1 else 'processes that share it'}, now by "
                f"{processes}; resume with {other}, or delete the folder"
            )
