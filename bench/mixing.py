"""How often rows of one sequence meet in a batch, against uniform samples of the whole store.

    python -m bench.mixing [--rows 20_000_000] [--width 768] [--quick]

Counts pairs of rows of one sequence in batches of 4096, sequences of 128, stored in float16, for several sizes of the
window, and for a plain shuffle of the same window. Nothing is read: the order is a function of sizes and seed.
"""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.command_line import bench_parser
from train.loader import BLOCK_ROWS, Order

BATCH, LENGTH, WINDOWS = 4096, 128, 4


def pairs_in_batches(stream: np.ndarray) -> float:
    """Return the mean number of pairs of rows of one sequence per batch, in a stream of row numbers."""
    batches = stream[: len(stream) // BATCH * BATCH].reshape(-1, BATCH) // LENGTH
    counts = [np.unique(batch, return_counts=True)[1] for batch in batches]
    return float(np.mean([(count * (count - 1) // 2).sum() for count in counts]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--rows", type=int, help="of the store; 20,000,000, or 200,000 with --quick")
    parser.add_argument("--width", type=int, default=768)
    arguments = parser.parse_args(argv)
    rows = arguments.rows or (200_000 if arguments.quick else 20_000_000)
    columns = ("window, MiB", "rows in it", "pairs", "plain shuffle of the same window")
    table = Table(*columns, title="mixing" + " (quick)" * arguments.quick)
    uniform = BATCH * (BATCH - 1) / 2 * (LENGTH - 1) / (rows - 1)
    table.add_row("uniform sample of the store", "", f"{uniform:.1f}", "")
    for mib in (512, 96, 48, 24):
        blocks_per_window = mib * 2**20 // (arguments.width * 2 * BLOCK_ROWS)
        order = Order(rows, BLOCK_ROWS, blocks_per_window, seed=0)
        ours, plain, size = [], [], 0
        for window in range(min(order.windows, WINDOWS)):
            blocks = order.blocks_of(0, window)
            numbers = (blocks[:, None] * BLOCK_ROWS + np.arange(BLOCK_ROWS)).ravel()
            numbers = numbers[numbers < order.rows]
            size = len(numbers)
            ours.append(pairs_in_batches(numbers[order.places(0, window, blocks)]))
            plain.append(pairs_in_batches(np.random.default_rng(window).permutation(numbers)))
        table.add_row(str(mib), f"{size:,}", f"{np.mean(ours):.1f}", f"{np.mean(plain):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
