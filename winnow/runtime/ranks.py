"""Tell the processes of one job apart: this process's rank, and how many there are.

torchrun --nproc-per-node 2 -m harvest --config FILE       # RANK, WORLD_SIZE, LOCAL_RANK
srun --ntasks 8 python -m harvest --config FILE            # SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID
sbatch --array 0-7 …                                       # SLURM_ARRAY_TASK_ID, _COUNT, _MIN, _MAX, _STEP
RANK=3 WORLD_SIZE=8 python -m harvest --config FILE        # anything else; overrides the others

The tasks of a job array count as one job: task i of n, with m processes each, has ranks i·m … i·m + m − 1 of n·m.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from winnow.errors import UserError

_NAMES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
_ARRAY = "SLURM_ARRAY_TASK_"


class Ranks(NamedTuple):
    """The rank of this process in its job."""

    rank: int = 0
    total: int = 1
    local: int = 0  # rank on this machine: the number of its GPU, or more where ranks share GPUs

    def owns(self, number: int) -> bool:
        """Tell whether this process does the piece of work with this number: rank r of n does r, r + n, …"""
        return number % self.total == self.rank


def this_rank(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Read the launcher's environment variables; without any, this is the only process.

    Raises `UserError` if they are not numbers, or the rank is not below the count.
    """
    for names in _NAMES:
        rank_name, count_name, local_name = names
        if rank_name in environment and count_name in environment:
            rank, total, local = _whole_numbers(environment, dict.fromkeys(names, "0"))
            if local_name not in environment:
                local = _local(environment, rank)
            ranks = Ranks(rank, total, local)
            if ranks.rank >= ranks.total:
                raise UserError(f"{rank_name}={ranks.rank} and {count_name}={ranks.total}: ranks count from 0")
            return ranks if rank_name == "RANK" else _in_array(environment, ranks)
    return _in_array(environment, Ranks())


def _local(environment: Mapping[str, str], rank: int) -> int:
    """Find the rank on this machine where the launcher does not say it: SLURM's, or else the rank itself.

    Ranks are then taken to fill one machine after the other; each has the GPU of its remainder by their number
    (`winnow.runtime.device`).
    """
    (local,) = _whole_numbers(environment, {"SLURM_LOCALID": str(rank)})
    return local


def _in_array(environment: Mapping[str, str], ranks: Ranks) -> Ranks:
    """Number the ranks across all tasks of a SLURM job array."""
    if _ARRAY + "ID" not in environment or _ARRAY + "COUNT" not in environment:
        return ranks
    defaults = {_ARRAY + name: default for name, default in (("ID", ""), ("COUNT", ""), ("MIN", "0"), ("STEP", "1"))}
    number, count, first, step = _whole_numbers(environment, defaults)
    task = (number - first) // max(1, step)
    (last,) = _whole_numbers(environment, {_ARRAY + "MAX": str(first + step * (count - 1))})
    if last != first + step * (count - 1) or not 0 <= task < count:
        raise UserError(
            f"{_ARRAY}ID={number}: a job array of {count} tasks from {first} to {last} has gaps, so this "
            "task's rank is unknown; submit the whole array (finished work is skipped), or set RANK and WORLD_SIZE"
        )
    return Ranks(task * ranks.total + ranks.rank, count * ranks.total, ranks.local)


def _whole_numbers(environment: Mapping[str, str], defaults: Mapping[str, str]) -> list[int]:
    values = {name: environment.get(name, default) for name, default in defaults.items()}
    if not all(value.isdigit() for value in values.values()):
        raise UserError(f"{', '.join(f'{k}={v}' for k, v in values.items())}: expected whole numbers")
    return [int(value) for value in values.values()]
