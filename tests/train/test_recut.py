"""A dictionary goes on with another number of ranks than began it; the ranks are threads of this process."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import winnow
from tests.train.experiments import load, write_run
from train import sharded
from train.checkpoint import checkpoint_rows, read_checkpoint
from train.collectives import RankCollectives
from train.recut import common_rows, drop_other_cuts, other_cut, recut, slice_folder
from train.signals import Stop
from train.stage import train
from winnow.errors import UserError
from winnow.runtime.lock import claim
from winnow.runtime.ranks import Ranks
from winnow.runtime.stage import Interrupted

N = 48
GRIDS: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": N, "k": 2, "learning_rate": 5e-3},
    {"architecture": "batchtopk", "n_latents": N, "k": 2, "learning_rate": 5e-3},
    {"architecture": "gated", "n_latents": N, "l1_coefficient": 10.0, "resample_rows": 500, "learning_rate": 0.1},
]
SHARE = ("--train.shard_latents", "true")


class Meeting:
    """Where the threads of a job exchange tensors."""

    def __init__(self, ranks: int) -> None:
        self.barrier = threading.Barrier(ranks, timeout=60)
        self.slots: list[Any] = [None] * ranks

    def exchange(self, rank: int, tensor: Tensor) -> list[Tensor]:
        self.slots[rank] = tensor.detach().clone()
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class ThreadCollectives(RankCollectives):
    """A thread as a rank."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.ranks = meeting, rank, len(meeting.slots)

    def all_gather(self, tensor: Tensor) -> Tensor:
        return torch.cat(self.meeting.exchange(self.rank, tensor))

    def gather(self, tensor: Tensor) -> Tensor | None:
        found = self.meeting.exchange(self.rank, tensor)
        return None if self.rank else torch.cat(found)

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        found = torch.stack(self.meeting.exchange(self.rank, tensor))
        return tensor.copy_(found.sum(0) if operation == dist.ReduceOp.SUM else found.amin(0))


class StopAfter(Stop):
    """Asks for a stop after some steps."""

    def __init__(self, steps: int | None) -> None:
        self.steps = steps

    @property
    def requested(self) -> str | None:  # type: ignore[override]
        if self.steps is not None:
            self.steps -= 1
        return "SIGTERM" if self.steps == 0 else None


def run(config: Path, ranks: int, monkeypatch: pytest.MonkeyPatch, steps: int | None = None) -> None:
    """Train with so many ranks, to the end or for some steps."""
    meeting = Meeting(ranks)

    @contextmanager
    def joined(mine: Ranks) -> Iterator[ThreadCollectives]:
        yield ThreadCollectives(meeting, mine.rank)

    @contextmanager
    def stop() -> Iterator[Stop]:
        yield StopAfter(steps)

    def one(rank: int) -> None:
        try:
            train(load(config, *SHARE), Ranks(rank, ranks, rank))
        except BaseException as error:
            if not isinstance(error, UserError | Interrupted):
                meeting.barrier.abort()  # the others wait for nobody
            raise

    with monkeypatch.context() as patch:
        patch.setattr(sharded, "joined", joined)
        for module in ("train.sharded", "train.sweep"):
            patch.setattr(f"{module}.stop_on_signals", stop)
        with ThreadPoolExecutor(ranks) as threads:
            failed = [future.exception() for future in [threads.submit(one, rank) for rank in range(ranks)]]
    for error in failed:
        if error is not None:
            raise error


def weights(folder: Path) -> dict[str, winnow.Dictionary]:
    return {d.path.name: d for d in winnow.load_dictionaries(folder / "run") if d.path}


@pytest.mark.parametrize(
    "grid",
    [GRIDS[0], *(pytest.param(grid, marks=pytest.mark.slow) for grid in GRIDS[1:])],
    ids=lambda grid: grid["architecture"],
)
def test_two_ranks_then_one_then_three_come_to_what_one_comes_to(
    grid: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (write_run(tmp_path / name, [grid], rows=4500) for name in ("whole", "cut"))
    train(load(whole))
    for ranks in (2, 1):
        with pytest.raises(Interrupted, match="state saved"):
            run(cut, ranks, monkeypatch, steps=6)
        (folder,) = (tmp_path / "cut" / "run" / "dictionaries").glob("*/*-seed0")
        assert other_cut(folder, ranks) is None
        assert common_rows(folder, ranks) == {2: 1500, 1: 3000}[ranks]
        assert [path.exists() for path in (folder / "checkpoints", folder / "shards")] == [ranks == 1, ranks == 2]
    run(cut, 3, monkeypatch)
    ((name, found),) = weights(tmp_path / "cut").items()
    for key, value in weights(tmp_path / "whole")[name].named_parameters():
        torch.testing.assert_close(found.get_parameter(key), value, rtol=1e-5, atol=1e-5)
    curves = [(tmp_path / n / "run").glob("dictionaries/*/*/metrics.jsonl") for n in ("whole", "cut")]
    assert len({len(next(paths).read_text().splitlines()) for paths in curves}) == 1
    assert not any(path.exists() for path in (folder / "checkpoints", folder / "shards"))


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a dictionary that one process began."""
    monkeypatch.setattr("train.sweep.stop_on_signals", lambda: nullcontext(StopAfter(4)))
    with pytest.raises(Interrupted):
        train(load(write_run(tmp_path, GRIDS[:1])))
    return next((tmp_path / "run" / "dictionaries").glob("*/*-seed0"))


def test_cutting_and_joining_gives_the_same_state(begun: Path) -> None:
    before, numbers = read_checkpoint(begun, 1000)
    for ranks in (2, 3, 1):
        for rank in range(ranks):
            recut(begun, N, rank, ranks)
        drop_other_cuts(begun, ranks)
        slices = [read_checkpoint(slice_folder(begun, rank, ranks), 1000) for rank in range(ranks)]
        for tensors, said in slices:
            assert said == numbers
            assert (
                len(tensors["W_dec"]) == len(tensors["adam.W_enc.exp_avg"]) == len(tensors["silent_rows"]) == N // ranks
            )
            assert torch.equal(tensors["adam.b_dec.exp_avg"], before["adam.b_dec.exp_avg"])
    after, _ = read_checkpoint(begun, 1000)
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name


def test_a_kill_while_it_is_cut_loses_nothing(begun: Path) -> None:
    recut(begun, N, 0, 3)  # and the other ranks were killed before
    assert other_cut(begun, 3) == other_cut(begun, 2) == 1
    for rank in (0, 1, 2):
        recut(begun, N, rank, 3)  # the first once more
    assert checkpoint_rows(begun) == {1000}  # kept until all are there
    assert other_cut(begun, 3) is None
    drop_other_cuts(begun, 3)
    assert not (begun / "checkpoints").exists()
    assert common_rows(begun, 3) == 1000


def test_a_slice_that_is_damaged_or_does_not_fit_is_named(begun: Path) -> None:
    with pytest.raises(UserError, match=r"48 latents cannot be split evenly over 5 ranks; choose a multiple"):
        recut(begun, N, 0, 5)
    state = begun / "checkpoints" / "rows-0000000001000" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"state\.safetensors: .* bytes.*; delete .*rows-0000000001000 to resume from"):
        recut(begun, N, 0, 2)


def test_a_dictionary_that_another_job_trains_is_refused_by_all_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_run(tmp_path, GRIDS[:1])
    with pytest.raises(Interrupted):
        run(config, 2, monkeypatch, steps=2)
    (folder,) = (tmp_path / "run" / "dictionaries").glob("*/*-seed0")
    with claim(folder), pytest.raises(UserError, match="another job is training it; wait for it, or stop it"):
        run(config, 3, monkeypatch)
    assert common_rows(folder, 2) == 500
