"""How fast rows are read from shards, against a raw read of the same bytes.

    python -m bench.read [--mib 1024] [--quick] [--repeats 7]

Both read the same files through the page cache, in turns: sequentially in long stretches, and block by block in random
order, as the trainer's shuffle does.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bench.command_line import bench_parser, repeats_of
from bench.table import Row, publish_rows
from bench.timing import ratio_of
from harvest.write_shard import write_shard
from winnow.shards.layout import RowIndex, shard_path
from winnow.shards.manifest import write_manifest
from winnow.store import ActivationStore

HOOK = "blocks.6.hook_resid_pre"
WIDTH = 768
TARGET = 0.8


def write_store(folder: Path, rows: int, shards: int, width: int = WIDTH) -> ActivationStore:
    """Write random rows, equally many into each shard."""
    folder.mkdir()
    dtype = "float16"
    write_manifest(
        folder,
        made_from={"toy": {"directions_sha256": "0" * 64}},
        hooks={HOOK: width},
        context=128,
        storage_dtype=dtype,
        rows_per_shard=rows,
        shards=shards,
        settings={},
    )
    values = torch.randn(rows, width)
    place = torch.arange(rows, dtype=torch.int32)
    for number in range(shards):
        first = number * rows
        index = RowIndex(place + first, place % 128, place)
        with write_shard(shard_path(folder, number), {HOOK: width}, index, (first, first + rows), dtype, 128) as shard:
            for chunk in values.split(8192):
                shard.append({HOOK: chunk})
    return ActivationStore(folder)


def measure(store: ActivationStore, block: int, order: np.ndarray, what: str, repeats: int) -> Row:
    """Read blocks of rows in the given order, by the store and by `preadv` at the same places."""
    out = torch.empty(block, WIDTH, dtype=torch.float16)
    raw = torch.empty(block * WIDTH * 2, dtype=torch.uint8).numpy().data  # the same kind of memory as torch's
    spots = [store.place(HOOK, int(start)) for start in order]
    files = {path: os.open(path, os.O_RDONLY) for path, _ in spots}

    def by_store() -> None:
        for start in order:
            store.read_into(out, HOOK, int(start))

    def by_hand() -> None:
        for path, offset in spots:
            os.preadv(files[path], [raw], offset)

    alone, stored = ratio_of(by_hand, by_store, repeats)
    for descriptor in files.values():
        os.close(descriptor)
    mib = len(order) * block * WIDTH * 2 / 2**20
    return Row(what, mib / stored, mib / alone, "MiB/s", TARGET)


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__, repeats=7)
    parser.add_argument("--mib", type=int, help="size of the store; 1024, or 48 with --quick")
    arguments = parser.parse_args(argv)
    shards = 4
    mib = arguments.mib or (48 if arguments.quick else 1024)
    rows = mib * 2**20 // (WIDTH * 2) // shards // 8192 * 8192
    with tempfile.TemporaryDirectory() as name:
        store = write_store(Path(name) / "store", rows, shards)
        rng = np.random.default_rng(0)
        table = []
        for block, what in ((8192, "sequential, 12 MiB stretches"), (256, "random blocks of 256 rows")):
            order = np.arange(0, store.rows - block + 1, block)
            if block == 256:
                order = rng.permutation(order)
            table.append(measure(store, block, order, what, repeats_of(arguments)))
    publish_rows("read", "raw read of the same bytes", table, quick=arguments.quick)


if __name__ == "__main__":
    main()
