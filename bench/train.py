"""How long a training step takes, against the dense products that it cannot do without.

    python -m bench.train [--quick] [--repeats 5] [--only step|sweep|reading]

On a CPU: d = 768, n = 6144, k = 32, 4096 rows a step, on all of torch's threads. On a GPU, if there is one: n = 24,576
and 131,072, 16,384 rows. Step and floor are timed in turns, so that a noisy machine is equally noisy to both; the
median ratio counts. A step is everything: loss, gradients, Adam, normalisation and counters.

Two more rows compare whole passes over rows: eight small dictionaries in one sweep, against eight runs one after the
other, each of which reads and prepares the rows itself; and a dictionary trained from shards, against one from memory.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.command_line import bench_parser, repeats_of
from bench.read import HOOK, write_store
from bench.table import Row, publish_rows
from bench.timing import ratio_of
from train.cores import parallel_map
from train.device_windows import batches_on
from train.learner import Learner
from train.link import link_to
from train.loader import Loader
from train.plan import Planned
from train.settings import DictionarySettings
from train.stack import Stack, stack_learners
from train.start.initialise import first_directions, initial_parameters
from winnow.shards.dtypes import TORCH

K = 32
STILL = 1e-9  # learning rate: steps cost the same, and the density does not change
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Shape(NamedTuple):
    rows: int
    d: int
    n: int


class Case(NamedTuple):
    """A step, and how long it may take."""

    what: str
    settings: dict[str, Any]
    dtype: str
    products: int  # the floor: this many products of the encoder's size, in the same dtype
    most: float  # the longest good time, as a multiple of the floor
    density: float | None = None  # set the encoder's bias for this share of active latents


TOPK = {"architecture": "topk", "k": K}
BATCHTOPK = {"architecture": "batchtopk", "k": K}
RELU = {"architecture": "relu", "l1_coefficient": 1.0}
ON_CPU = [
    *(Case(s["architecture"], s, dtype, 1, 1.5) for dtype in ("float32", "bfloat16") for s in (TOPK, BATCHTOPK)),
    Case("relu", RELU, "float32", 5, 1.15),
    *(Case("relu", RELU, "float32", 1, 1.8, density) for density in (0.005, 0.015, 0.02)),
    Case("relu", RELU, "bfloat16", 5, 1.15),
]
ON_GPU = [
    Case("topk", TOPK, "bfloat16", 1, 2.5),
    Case("batchtopk", BATCHTOPK, "bfloat16", 1, 2.5),
    Case("relu", RELU, "bfloat16", 5, 1 / 0.55),
]


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__, repeats=5)
    parser.add_argument("--only", choices=("step", "sweep", "reading"), help="one part of the table")
    arguments = parser.parse_args(argv)
    quick, repeats = arguments.quick, repeats_of(arguments)
    if quick:
        shapes, cases = [Shape(256, 64, 512)], ON_CPU
    elif DEVICE.type == "cuda":
        shapes, cases = [Shape(16_384, 768, n) for n in (24_576, 131_072)], ON_GPU
    else:
        shapes, cases = [Shape(4096, 768, 6144)], ON_CPU
    results: list[Row] = []
    if arguments.only in (None, "step"):
        results += [step(case, shape, repeats) for shape in shapes for case in cases]
    if arguments.only in (None, "sweep"):
        results.append(sweep(Shape(128, 32, 128) if quick else Shape(2048, 128, 1024), 2.0, repeats))
        results.append(sweep(Shape(128, 32, 64) if quick else Shape(256, 64, 128), 2.0, repeats))
    if arguments.only in (None, "reading"):
        results.append(reading(shapes[0], repeats))
    publish_rows("train", "the floor", results, quick=quick)


def learner(shape: Shape, settings: dict[str, Any], seed: int = 0) -> Learner:
    settings = {
        "n_latents": shape.n,
        "seed": seed,
        "learning_rate": STILL,
        "rows": 10**9,
        "batch_rows": shape.rows,
        "warmup": 0.0,
        "decay": 0.0,
        "slope_bound": 0.05,
        "similarity_bound": 0.9,
        **settings,
    }
    directions = first_directions("random", shape.n, shape.d, seed, lambda: torch.empty(0, shape.d))
    planned = Planned("hook", Path("bench"), DictionarySettings(**settings))
    return Learner(planned, initial_parameters(directions, torch.zeros(shape.d)), DEVICE, 1)


def rows_of(shape: Shape, batches: int = 1) -> Tensor:
    return torch.randn(batches * shape.rows, shape.d, generator=torch.Generator().manual_seed(0))


def step(case: Case, shape: Shape, repeats: int) -> Row:
    """Time a step against `case.products` products of the encoder's size in the same dtype."""
    x = rows_of(shape).to(DEVICE)
    measured = learner(shape, case.settings | {"compute_dtype": case.dtype})
    if case.density is not None:
        set_density(measured, x, case.density)
    stack = Stack([measured])
    variance = x.square().sum()
    a = x.to(TORCH[case.dtype])
    b = measured.parameters["W_enc"].to(TORCH[case.dtype]).T

    def floor() -> None:
        for _ in range(case.products):
            torch.mm(a, b)

    floored, took = ratio_of(waited(floor), waited(partial(stack.train_on, x=x, variance=variance)), repeats)
    sums = measured.take_sums()
    active = sums.active / sums.rows / shape.n
    what = f"{case.what}, {active:.1%} of {shape.n:,} active, {case.dtype}, beside {case.products} x encoder"
    return Row(what, shape.rows / took, shape.rows / floored, "rows/s", 1 / case.most)


def set_density(measured: Learner, x: Tensor, density: float) -> None:
    """Lower the encoder's bias until a share `density` of the latents is active."""
    pre = x[:512] @ measured.parameters["W_enc"].T
    above = round(density * pre.numel())
    measured.parameters["b_enc"].fill_(-float(pre.flatten().kthvalue(pre.numel() - above).values))


def sweep(shape: Shape, target: float, repeats: int) -> Row:
    """Time eight dictionaries in one pass over shards against eight passes one after the other."""
    batches = 4
    with tempfile.TemporaryDirectory() as folder:
        loader = loader_of(Path(folder), shape, batches)
        together = [learner(shape, TOPK, seed) for seed in range(8)]
        alone = [Stack([learner(shape, TOPK, seed)]) for seed in range(8)]

        def open_rows() -> Iterable[Tensor]:
            for batch in batches_on(loader, link_to(DEVICE), 2**62, 0, batches * shape.rows, shape.rows):
                yield batch.to(DEVICE).float()

        def one_by_one() -> None:
            for stack in alone:
                for x in open_rows():
                    stack.train_on(x, x.square().sum())

        stacks = stack_learners(together)
        # a run sets up its threads once: not part of its steps
        with parallel_map(len(together), DEVICE) as in_parallel:

            def in_one_pass() -> None:
                for x in open_rows():
                    in_parallel(partial(Stack.train_on, x=x, variance=x.square().sum()), stacks)

            one, both = ratio_of(waited(one_by_one), waited(in_one_pass), repeats)
    rows = 8 * batches * shape.rows
    what = f"8 topk dictionaries in {len(stacks)} stacks, n = {shape.n}, d = {shape.d}, beside one by one"
    return Row(what, rows / both, rows / one, "rows/s", target)


def reading(shape: Shape, repeats: int) -> Row:
    """Time a topk dictionary on rows from shards against the same rows from memory, both in mid-training."""
    batches = 8
    stack = Stack([learner(shape, TOPK)])
    with tempfile.TemporaryDirectory() as folder:
        loader = loader_of(Path(folder), shape, batches)
        held = [x.to(DEVICE, copy=True) for x in loader.batches(0, batches * shape.rows, shape.rows)]
        # epoch after epoch: its next window is always being read; a GPU holds the windows
        stream = batches_on(loader, link_to(DEVICE), 2**62, 0, 10**15, shape.rows)

        def train(batches: Iterable[Tensor]) -> None:
            for x in batches:
                x = x.to(DEVICE).float()
                stack.train_on(x, x.square().sum())

        memory, disk = ratio_of(
            waited(lambda: train(held)), waited(lambda: train(itertools.islice(stream, batches))), repeats
        )
    rows = batches * shape.rows
    return Row(f"topk, n = {shape.n:,}, from shards, beside from memory", rows / disk, rows / memory, "rows/s", 0.95)


def loader_of(folder: Path, shape: Shape, batches: int) -> Loader:
    """Write shards, and open a loader of a few windows per epoch."""
    store = write_store(folder / "store", batches * shape.rows // 4, 4, shape.d)
    return Loader(store, HOOK, 0, max(1, batches * shape.rows * shape.d * 2 // 4))


def waited(work: Callable[[], None]) -> Callable[[], None]:
    """Wait for the GPU, if there is one, after the work."""
    if DEVICE.type != "cuda":
        return work

    def both() -> None:
        work()
        torch.cuda.synchronize()

    return both


if __name__ == "__main__":
    main()
