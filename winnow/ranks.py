"""Which share of the work is this process's, when several are started as one job.

torchrun --nproc-per-node 2 -m harvest --config FILE       # RANK, WORLD_SIZE, LOCAL_RANK
srun --ntasks 8 python -m harvest --config FILE            # SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID
RANK=3 WORLD_SIZE=8 python -m harvest --config FILE        # any job array
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from winnow.errors import UserError

_NAMES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


class Ranks(NamedTuple):
    """This process among those that share a job."""

    rank: int = 0
    total: int = 1
    local: int = 0  # among those on this machine: the number of its GPU

    def owns(self, number: int) -> bool:
        """Tell whether a piece of work that any process can do is this one's: rank r of n does r, r + n, …"""
        return number % self.total == self.rank


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
