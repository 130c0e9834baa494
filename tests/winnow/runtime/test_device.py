"""The device of a stage, on machines that have other ones than this."""

import pytest
import torch

from winnow.errors import UserError
from winnow.runtime.device import choose_device
from winnow.runtime.ranks import Ranks, this_rank


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Pretend that there are two; the list names those that were made current."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_gpus")
def test_ranks_share_the_gpus_of_their_machine():
    chosen = [choose_device("auto", Ranks(rank=4 + local, total=8, local=local)) for local in range(4)]
    assert chosen == [torch.device("cuda", n) for n in (0, 1, 0, 1)]


def test_ranks_without_a_local_rank_have_a_gpu_each(two_gpus: list[torch.device]):
    chosen = [choose_device("auto", this_rank({"RANK": str(rank), "WORLD_SIZE": "4"})) for rank in range(4)]
    assert chosen == two_gpus == [torch.device("cuda", n) for n in (0, 1, 0, 1)]


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_named_by_number_is_every_ranks():
    assert choose_device("cuda:1", Ranks(rank=0, total=2, local=0)) == torch.device("cuda:1")
    assert choose_device("auto") == torch.device("cuda")


def test_the_chosen_gpu_is_made_current(two_gpus: list[torch.device]):
    """Triton launches on the current device: on cuda:0, unless it is set."""
    choose_device("auto", Ranks(rank=1, total=2, local=1))
    choose_device("cuda:1")
    assert two_gpus == [torch.device("cuda:1")] * 2


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_those_there_is_refused():
    with pytest.raises(UserError, match=r"model\.device = cuda:2: there is no such device here; set it to auto or cpu"):
        choose_device("cuda:2")


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    assert choose_device("auto", mps=False) == torch.device("cpu")
    with pytest.raises(UserError, match="no such device"):
        choose_device("cuda")
