"""Which share of the shards is this process's, when several harvest together.

    torchrun --nproc-per-node 2 -m harvest --config FILE       # RANK, WORLD_SIZE, LOCAL_RANK
    srun --ntasks 8 python -m harvest --config FILE            # SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID
    RANK=3 WORLD_SIZE=8 python -m harvest --config FILE        # any job array

Ranks do not talk to one another: rank r of n makes the shards whose number leaves r when divided by n. As
any process can make any shard, a rank may die and come back, among another number of ranks too.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from winnow.errors import UserError

_NAMES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


class Ranks(NamedTuple):
    """This process among those that share a harvest."""

    rank: int = 0
    total: int = 1
    local: int = 0  # among those on this machine: the number of its GPU

    def owns(self, shard: int) -> bool:
        return shard % self.total == self.rank


def this_rank(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Read the launcher's environment variables; without any, one process does all.

    Raises `UserError` where they are no numbers, or the rank is not among its count.
    """
    for rank_name, count_name, local_name in _NAMES:
        if rank_name in environment and count_name in environment:
            said = {name: environment.get(name, "0") for name in (rank_name, count_name, local_name)}
            if not all(value.isdigit() for value in said.values()):
                raise UserError(f"{', '.join(f'{k}={v}' for k, v in said.items())}: expected whole numbers")
            rank, count, local = (int(value) for value in said.values())
            if rank >= count:
                raise UserError(f"{rank_name}={rank} and {count_name}={count}: ranks count from 0")
            return Ranks(rank, count, local)
    return Ranks()
