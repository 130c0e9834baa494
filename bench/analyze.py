"""How long comparing two dictionaries takes, against the bare product of their directions, and how much memory.

    python -m bench.analyze [--quick] [--latents 24576] [--repeats 2]

d = 768, float32. The product is computed in the same blocks and thrown away. Both are timed in turns, and the median
ratio counts. Memory is the peak above the weights, in a process each, of the max-cosines and of a whole comparison both
ways (matching, diagnosis, meta-decomposition and all).
"""

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from analyze.compare.cosines import BLOCK, max_cosines
from analyze.compare.directions import Features, compare
from bench.command_line import bench_parser, repeats_of
from bench.table import Row, publish_rows
from bench.timing import ratio_of

WIDTH = 768
SLOWER = 1.3  # times the bare product, at most
MEMORY = 1024  # MiB above the weights, at most


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__, repeats=2)
    parser.add_argument("--latents", type=int, help="of both dictionaries; 24,576, or 1024 with --quick")
    arguments = parser.parse_args(argv)
    n = arguments.latents or (1024 if arguments.quick else 24_576)
    rows = [speed(n, repeats_of(arguments)), memory("max-cosines", only_maxima, n)]
    whole = min(n, 6144)  # the assignment takes longest: at full size, minutes
    rows.append(memory("a whole comparison", everything, whole))
    publish_rows("analyze", "the bare product, or 1 GiB", rows, quick=arguments.quick)


def directions(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, WIDTH, generator=generator), torch.randn(n, WIDTH, generator=generator)


def speed(n: int, repeats: int) -> Row:
    """Compare the time of max-cosines, both ways, with that of the product alone."""
    a, b = directions(n)
    space = torch.empty(min(BLOCK, n) ** 2)

    def product() -> None:
        for rows in a.split(BLOCK):
            for columns in b.split(BLOCK):
                torch.mm(rows, columns.T, out=space[: len(rows) * len(columns)].view(len(rows), len(columns)))

    alone, measured = ratio_of(product, lambda: max_cosines(a, b) and None, repeats)
    millions = n * n / 1e6
    return Row(f"max-cosines, {n:,} × {n:,}", millions / measured, millions / alone, "million/s", 1 / SLOWER)


def memory(name: str, work: Callable[[Tensor, Tensor], object], n: int) -> Row:
    """Measure the peak memory of a process that does the work, above what it held before."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        used = pool.apply(_peak_of, (work, n))
    return Row(f"memory of {name}, {n:,} × {n:,}", used, MEMORY, "MiB", 1.0, less_is_better=True)


def only_maxima(a: Tensor, b: Tensor) -> object:
    return max_cosines(a, b)


def everything(a: Tensor, b: Tensor) -> object:
    one = torch.ones(len(a))
    return compare(Features(a, a, one.bool(), one, one), Features(b, b, one.bool(), one, one))


def _peak_of(work: Callable[[Tensor, Tensor], object], n: int) -> float:
    """Run the work in this process, and return the MiB of peak memory above what was resident before."""
    a, b = directions(n)
    work(a[:64], b[:64])  # so that libraries have loaded everything
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak to what is resident
    before = _status("VmRSS")
    work(a, b)
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """Read a size in KiB from the kernel's status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
