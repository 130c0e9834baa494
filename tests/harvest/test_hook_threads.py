"""Hooks side by side: the bytes of one thread, no two threads at one hook, bounded scratch, the first error."""

import threading
from pathlib import Path

import pytest
import torch

from harvest.hook_threads import FEW, HookThreads, hook_threads
from harvest.write_shard import Scratch, write_shard
from winnow.errors import UserError
from winnow.runtime.threads import thread_pool
from winnow.shards.layout import RowIndex

pytestmark = pytest.mark.usefixtures("two_threads")

WIDTHS = {f"hook{i}": 3 + i for i in range(7)}
ROWS, CONTEXT = 90, 6


def batches(sizes: tuple[int, ...] = (40, 0, 33, 17)) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [{hook: torch.randn(n, width, generator=generator) for hook, width in WIDTHS.items()} for n in sizes]


def written(path: Path, threads: HookThreads[Scratch] | None, dtype: str = "float16") -> bytes:
    row = torch.arange(ROWS, dtype=torch.int32)
    index = RowIndex(row // CONTEXT, row % CONTEXT, row)
    with write_shard(path, WIDTHS, index, (0, 15), dtype, CONTEXT, threads=threads) as shard:
        for batch in batches():
            shard.append(batch)
    return path.read_bytes() + path.with_suffix(".json").read_bytes()


def test_several_threads_write_the_bytes_of_one(tmp_path: Path):
    alone = written(tmp_path / "alone.h5", None)
    with hook_threads(len(WIDTHS), lambda: Scratch.of(max(WIDTHS.values()), "float16")) as threads:
        assert threads is not None
        for number in range(3):
            assert written(tmp_path / f"{number}.h5", threads) == alone


def test_few_hooks_and_one_core_take_the_thread_of_the_caller():
    with hook_threads(FEW, list) as threads:
        assert threads is None
    with hook_threads(FEW + 1, list) as threads:
        assert threads is not None
    torch.set_num_threads(1)
    with hook_threads(24, list) as threads:
        assert threads is None


def test_each_hook_has_one_thread_at_a_time_and_each_thread_a_scratch_of_its_own():
    made: list[list[int]] = []
    busy: set[int] = set()
    lock, both = threading.Lock(), threading.Barrier(2, timeout=10)

    def work(item: int, scratch: list[int]) -> None:
        with lock:
            assert item not in busy
            busy.add(item)
        scratch.append(item)
        both.wait()  # so two are at it at once, with two scratches
        with lock:
            busy.remove(item)

    with thread_pool(2, torch_threads=1) as pool:
        threads = HookThreads(lambda: made.append([]) or made[-1], 2, pool)
        for _ in range(3):
            threads.each(range(4), work)
            assert not busy
    assert len(made) == 2
    assert sorted(made[0] + made[1]) == sorted([0, 1, 2, 3] * 3)


def test_the_first_hook_that_fails_is_named_once_all_have_ended():
    ended = []

    def work(item: int, scratch: list[int]) -> None:
        ended.append(item)
        if item in (1, 3):
            raise UserError(f"hook {item}")

    with thread_pool(2, torch_threads=1) as pool, pytest.raises(UserError, match="hook 1"):
        HookThreads(list, 2, pool).each(range(5), work)
    assert sorted(ended) == [0, 1, 2, 3, 4]
