"""Whatever starts several processes, each knows which of them it is."""

import pytest

from winnow.errors import UserError
from winnow.runtime.ranks import Ranks, this_rank

ARRAY = {"COUNT": "4", "MIN": "0", "MAX": "3", "STEP": "1"}


def slurm(task: int, **array: str) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in {**ARRAY, **array, "ID": str(task)}.items()}


def test_a_task_of_a_job_array_is_a_rank():
    assert [this_rank(slurm(task)) for task in range(4)] == [Ranks(rank, 4, 0) for rank in range(4)]
    assert this_rank({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3"}) == Ranks(2, 3, 0)


def test_a_job_array_may_begin_anywhere_and_go_in_steps():
    assert this_rank(slurm(7, MIN="1", MAX="7", STEP="2")) == Ranks(3, 4, 0)


def test_every_process_of_every_task_of_an_array_is_another_rank():
    steps = [{"SLURM_PROCID": str(process), "SLURM_NTASKS": "3", "SLURM_LOCALID": str(process)} for process in range(3)]
    found = [this_rank(slurm(task) | step) for task in range(4) for step in steps]
    assert found == [Ranks(rank, 12, rank % 3) for rank in range(12)]


def test_what_is_said_by_rank_and_world_size_goes_before_slurm():
    assert this_rank(slurm(3) | {"RANK": "0", "WORLD_SIZE": "1"}) == Ranks(0, 1, 0)


def test_a_rank_whose_launcher_does_not_say_its_place_on_the_machine_finds_one():
    """SLURM says it; else ranks fill one machine after the other, and share its GPUs by the remainder."""
    told = {"RANK": "5", "WORLD_SIZE": "8"}
    assert this_rank(told | {"LOCAL_RANK": "1", "SLURM_LOCALID": "2"}).local == 1
    assert this_rank(told | {"SLURM_LOCALID": "2"}).local == 2
    assert this_rank(told).local == 5
    assert this_rank({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}).local == 3
    with pytest.raises(UserError, match="SLURM_LOCALID=here: expected whole numbers"):
        this_rank(told | {"SLURM_LOCALID": "here"})


def test_part_of_an_array_with_gaps_is_refused():
    with pytest.raises(UserError, match=r"2 tasks from 1 to 3 has gaps.*; submit the whole array"):
        this_rank(slurm(3, COUNT="2", MIN="1", MAX="3"))
    with pytest.raises(UserError, match=r"SLURM_ARRAY_TASK_COUNT=many.*: expected whole numbers"):
        this_rank(slurm(3, COUNT="many"))
