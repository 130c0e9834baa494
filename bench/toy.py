"""How fast toy data reach the disk, against a raw write of the same bytes.

    python -m bench.toy [--rows 524288] [--quick] [--repeats 5] [--only TEXT]

Toy data of the default settings, in float16: generated, measured, hashed and written as in a harvest, on all cores. The
raw write makes files of the same sizes, each synced, one after the other. Both are timed in turns, and the median ratio
counts.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.command_line import bench_parser, repeats_of
from bench.table import Row, publish_rows
from bench.timing import ratio_of
from harvest.make_shards import make_missing
from harvest.plan import Plan, bytes_per_row, plan_toy
from harvest.toy_source import open_toy_source
from winnow.config.toy import ToySettings
from winnow.runtime.publish import publish_file

TARGET = 0.8
DTYPE = "float16"
ROWS_PER_SHARD = 131_072
RUNS = Path("runs")
KINDS = {
    "default": {},
    "power decay": {"decay_form": "power"},
    "2048 features": {"n_features": 2048},
    "768 dimensions": {"d_model": 768},
}


def measure(what: str, settings: ToySettings, folder: Path, repeats: int) -> list[Row]:
    """Time the harvest of all shards against a raw write of the same bytes, in MiB and in rows."""
    plan: Plan = plan_toy(settings, ROWS_PER_SHARD)
    shards = folder / "shards"

    with open_toy_source(settings, folder / "truth") as source:
        per_row = bytes_per_row(source.width, DTYPE) + 12  # and sequence, position, token
        random = np.random.default_rng(0).integers(0, 256, per_row * ROWS_PER_SHARD, dtype=np.uint8)

        def harvest() -> None:
            _empty(shards)
            make_missing(source, plan, range(plan.shards), DTYPE, shards, lambda count: None)

        def raw() -> None:
            _empty(shards)
            for number in range(plan.shards):
                start, stop = plan.span(number)
                with publish_file(shards / f"raw-{number}") as path, path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, (stop - start) * per_row)
                    file.write(random[: (stop - start) * per_row].data)

        alone, harvested = ratio_of(raw, harvest, repeats)
    mib = settings.rows * per_row / 2**20
    return [
        Row(what, mib / harvested, mib / alone, "MiB/s", TARGET),
        Row(what, settings.rows / harvested, settings.rows / alone, "rows/s", TARGET),
    ]


def _empty(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__, repeats=5)
    parser.add_argument("--rows", type=int, help="of each store; 524,288, or 8192 with --quick")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds this")
    arguments = parser.parse_args(argv)
    rows = arguments.rows or (8192 if arguments.quick else 524_288)
    table = []
    for what, changed in KINDS.items():
        if arguments.only in what:
            # on the disk of the harvests: the folder for temporary files may be on another
            RUNS.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=RUNS) as name:
                settings = ToySettings(**{"rows": rows, **changed})
                table += measure(what, settings, Path(name), repeats_of(arguments))
    publish_rows("toy", "raw write of the same bytes", table, quick=arguments.quick)


if __name__ == "__main__":
    main()
