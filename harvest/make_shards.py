"""The second stage: turn tokens, or toy data, into activation shards, their manifest and their statistics.

A shard is a pure function of its source, the settings and its number, so a harvest makes the missing shards and keeps
the others.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harvest.background_writer import BackgroundShard, DeviceCounting
from harvest.device_accumulator import DeviceAccumulator
from harvest.hook_threads import HookThreads, hook_threads
from harvest.host_buffers import HostBuffers
from harvest.plan import Plan, bytes_per_row, refuse_without_space
from harvest.source import RowSource, open_source
from harvest.write_shard import Scratch, write_shard
from winnow.config.experiment import Experiment
from winnow.dictionary import TRAINING
from winnow.errors import UserError
from winnow.formats.saelens import CONFIG, WEIGHTS
from winnow.massive.rows import find
from winnow.runtime.announce import announce, device_kind
from winnow.runtime.hashes import change_hashes, note_all
from winnow.runtime.lock import claim
from winnow.runtime.progress import progress_bar
from winnow.runtime.publish import publish_file
from winnow.runtime.ranks import Ranks
from winnow.runtime.run import Run
from winnow.runtime.threads import thread_pool
from winnow.shards.fingerprint import fingerprint
from winnow.shards.finished import check_sidecars, finished_shards, noted
from winnow.shards.layout import RowIndex, read_sidecar, shard_path
from winnow.shards.manifest import MANIFEST, name_devices, read_manifest, write_manifest
from winnow.shards.norms import estimated_median, median_norm, norms_are_kept
from winnow.shards.statistics import STATISTICS, merge_all, write_statistics
from winnow.store import ActivationStore
from winnow.tokens import TokenFile

TRUTH_FILES = (CONFIG, WEIGHTS, TRAINING)
# Shards that are hashed and synced while a GPU computes the next: a core hashes slower than a disk writes.
FINISHING = 3


def make_shards(
    config: Experiment, tokens: TokenFile | None, plan: Plan, settings: dict[str, Any], folder: Path, ranks: Ranks
) -> None:
    """Write this rank's missing shards; the last rank to finish merges the statistics."""
    mine = [n for n in range(plan.shards) if ranks.owns(n)]
    missing = [n for n in mine if read_sidecar(shard_path(folder, n)) is None]
    total, left = (sum(stop - start for start, stop in map(plan.span, part)) for part in (mine, missing))
    title = f"harvest {ranks.rank + 1}/{ranks.total}" if ranks.total > 1 else "harvest"
    dtype = config.harvest.storage_dtype
    made = [path.name for n in missing for path in (shard_path(folder, n), shard_path(folder, n).with_suffix(".json"))]
    change_hashes(folder.parent, forget=[f"{folder.name}/{name}" for name in (STATISTICS, *made)])
    with open_source(config, tokens, ranks) as source:
        stored = bytes_per_row(source.width, dtype) + 4 * len(source.width)  # and the norms
        refuse_without_space(folder, stored, left * source.most_rows)  # before a manifest binds to the settings
        with claim(folder / MANIFEST, wait=True):
            _write_manifest(config, source, plan, settings, folder)
        if ranks.rank == 0:  # a stage that is refused says nothing but that
            announce("harvest", source.device, {"model.dtype": config.model.dtype} if tokens else {})
        made_by = fingerprint(read_manifest(folder).written)
        units = source.context
        with progress_bar(title, total * units, source.unit, (total - left) * units) as bar:
            make_missing(source, plan, missing, dtype, folder, bar.advance, made_by)
    with claim(folder / STATISTICS, wait=True):
        _name_devices(folder)
        if ActivationStore(folder).complete and not (folder / STATISTICS).exists():
            merge_statistics(folder)
            _name_massive_rows(ActivationStore(folder), config.massive_norm)
    record_harvest(folder, run_truth(config))


def run_truth(config: Experiment) -> Path | None:
    """Give the folder of the true directions; None where the data are no toy data."""
    return None if config.toy is None else Run(Path(config.run)).truth


def record_harvest(folder: Path, truth: Path | None) -> None:
    """Put a finished harvest into the record of its run; shards stand there as their sidecars say."""
    store = ActivationStore(folder)
    if not store.complete or not (folder / STATISTICS).exists():
        return
    shards = list(finished_shards(folder, store.shards))
    names = [MANIFEST, STATISTICS, *(path.with_suffix(".json").name for path, _ in shards)]
    files = note_all(folder, names) | {path.name: noted(sidecar) for path, sidecar in shards}
    listed = {f"{folder.name}/{name}": said for name, said in files.items()}
    if truth is not None:
        listed |= {f"{truth.name}/{name}": said for name, said in note_all(truth, TRUTH_FILES).items()}
    change_hashes(folder.parent, listed, forget=[f"{folder.name}/"])


class Means(NamedTuple):
    """What the shards of a harvest share: threads, and the way from the device to the host."""

    pool: Executor  # two threads for each shard in flight: one writes it, one sends it to the disk
    threads: HookThreads[Scratch] | None
    buffers: HostBuffers | None  # of rows that their device counts; None: the CPU does
    stream: "torch.cuda.Stream | None"  # that copies into the buffers

    def counting(self, source: RowSource, index: RowIndex, dtype: str) -> DeviceCounting | None:
        """Prepare to count one shard's rows on their device; None where the CPU counts them."""
        if self.buffers is None:
            return None
        accumulators = {
            hook: DeviceAccumulator(width, source.context, source.device) for hook, width in source.width.items()
        }
        return DeviceCounting(accumulators, index.position, dtype, self.buffers, self.stream)


@contextmanager
def _means(source: RowSource, dtype: str, in_flight: int, there: bool) -> Iterator[Means]:
    device = source.device
    with (
        hook_threads(len(source.width), lambda: Scratch.of(max(source.width.values()), dtype)) as threads,
        # one torch thread each: more would take cores from the source's own threads
        thread_pool(2 * in_flight, torch_threads=1) as pool,
    ):
        on_gpu = device.type == "cuda"
        stream = torch.cuda.Stream(device) if there and on_gpu else None
        yield Means(pool, threads, HostBuffers(pinned=on_gpu) if there else None, stream)


def make_missing(
    source: RowSource,
    plan: Plan,
    numbers: Iterable[int],
    dtype: str,
    folder: Path,
    advance: Callable[[int], None],
    made_by: str = "",
    count_on_device: bool | None = None,
) -> None:
    """Make the shards with these numbers, stored as `dtype`, except those that another process is making.

    `source.shards_at_once` shards take turns, batch by batch, so they end at about the same time; as many more may
    still be on their way to the disk, on a GPU more than that. Calls `advance` after each batch with its number of
    units of the source. made_by: the fingerprint of the manifest, for their sidecars. count_on_device: whether rows
    are counted where they are computed; None: on a GPU.
    """
    there = source.device.type == "cuda" if count_on_device is None else count_on_device
    in_flight = source.shards_at_once + (FINISHING if there else source.shards_at_once)
    with ExitStack() as abandoned, _means(source, dtype, in_flight, there) as means:
        making: deque[tuple[Iterator[BackgroundShard], BackgroundShard]] = deque()
        writing: deque[BackgroundShard] = deque()  # computed; being written to disk and hashed

        def take_turn() -> None:
            maker, shard = making.popleft()
            if next(maker, None) is None:
                writing.append(shard)
            else:
                making.append((maker, shard))

        for number in numbers:
            while len(making) == source.shards_at_once:
                take_turn()
            if len(making) + len(writing) == in_flight:
                writing.popleft().wait()  # it may raise, so wait before claiming the next shard
            held = ExitStack()
            free = held.enter_context(claim(shard_path(folder, number)))
            if not free or read_sidecar(shard_path(folder, number)) is not None:
                held.close()  # a job with a different world size is making it, or has made it
                continue
            maker = make_shard(source, number, plan.span(number), dtype, folder, means, held, advance, made_by)
            abandoned.callback(maker.close)
            making.append((maker, next(maker)))
        while making:
            take_turn()
        for shard in writing:
            shard.wait()


def _write_manifest(config: Experiment, source: RowSource, plan: Plan, settings: dict[str, Any], folder: Path) -> None:
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        source.refuse_other(folder, manifest.written)
        check_sidecars(folder, manifest, list(finished_shards(folder, plan.shards)))
        return
    change_hashes(folder.parent, forget=[f"{folder.name}/"])
    manifest = write_manifest(
        folder,
        made_from=source.manifest(),
        hooks=source.width,
        context=source.context,
        storage_dtype=config.harvest.storage_dtype,
        rows_per_shard=config.harvest.rows_per_shard,
        shards=plan.shards,
        settings=settings,
        devices=[device_kind(source.device)],
    )
    try:
        check_sidecars(folder, manifest, list(finished_shards(folder, plan.shards)))
    except UserError:
        (folder / MANIFEST).unlink()  # the shards there are of another, which is missing
        raise


def _name_devices(folder: Path) -> None:
    """Let the manifest name the kinds of device that the finished shards say, once all are finished."""
    store = ActivationStore(folder)
    if not store.complete or not store.devices or store.devices == read_manifest(folder).devices:
        return
    change_hashes(folder.parent, forget=[f"{folder.name}/{MANIFEST}"])
    name_devices(folder, store.devices)


def _name_massive_rows(store: ActivationStore, bound: float) -> None:
    for hook in store.hooks:
        found = find(store, hook, bound)
        if found is not None:
            treated = f"Left out by massive_norm = {bound:g}" if bound else "Taken in by massive_norm = 0"
            print(f"{hook}: {found.words()} {treated}.")


def merge_statistics(folder: Path) -> None:
    """Publish the statistics of a finished harvest, merged over its shards, with the median norm of each hook."""
    store = ActivationStore(folder)
    merged = {
        hook: merge_all(store.shard_statistics(hook), width, store.context) for hook, width in store.hooks.items()
    }
    if norms_are_kept(store.manifest):
        medians = {hook: median_norm(partial(store.norms, hook)) for hook in store.hooks}
    else:  # begun before norms were kept
        medians = {hook: estimated_median(found.norm_histogram) for hook, found in merged.items()}
    with publish_file(folder / STATISTICS) as path:
        write_statistics(path, merged, medians)


def make_shard(
    source: RowSource,
    number: int,
    span: tuple[int, int],
    storage_dtype: str,
    folder: Path,
    means: Means,
    held: ExitStack,
    advance: Callable[[int], None],
    made_by: str = "",
) -> Generator[BackgroundShard, None, None]:
    """Compute shard `number`, of sequences `span`; a thread of `means.pool` writes it into `folder`.

    Yields the shard once it is open, and after each batch. At the end all batches are computed, but the shard may not
    be published yet; closing the generator earlier abandons the shard. The thread closes `held` when the shard is
    published or abandoned. Calls `advance` after each batch with its number of units of the source.
    """
    index = source.index(*span)
    path = shard_path(folder, number)
    context, why = source.context, source.why_not_finite
    counting = means.counting(source, index, storage_dtype)
    opened = write_shard(
        path,
        source.width,
        index,
        span,
        storage_dtype,
        context,
        made_by,
        why,
        means.threads,
        counting and counting.accumulators,
        means.pool,
        device_kind(source.device),
    )
    with BackgroundShard(means.pool, opened, held, counting) as shard:
        yield shard
        for units, rows in source.rows(*span, index):
            shard.append(rows)
            advance(units)
            yield shard
