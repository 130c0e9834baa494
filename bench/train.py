"""What a training step costs beside the dense products that it cannot do without.

    python -m bench.train [--quick] [--repeats 5]

d = 768, n = 6144, k = 32, 4096 rows a step, on the device's own threads. Step and floor take turns, so that a noisy
machine is equally noisy to both; the middle ratio counts. The step is all of it: loss, gradients, Adam,
normalisation and counters.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.harvest import ratio_of
from bench.table import Row, publish_rows
from train.architectures.base import Parameters
from train.initialise import first_directions, initial_parameters
from train.member import Member
from train.plan import Planned
from train.workers import side_by_side
from winnow.dtypes import TORCH

K = 32
DENSITY = 0.015  # of the relu dictionary that is measured once sparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows, d, n = (256, 64, 512) if arguments.quick else (4096, 768, 6144)
    x = torch.randn(rows, d, generator=torch.Generator().manual_seed(0))
    results = [
        step(f"{architecture}, {dtype}", x, n, dtype, arguments.repeats, products=1, target=1.5, **options)
        for dtype in ("float32", "bfloat16")
        for architecture, options in {
            "topk": {"architecture": "topk", "k": K},
            "batchtopk": {"architecture": "batchtopk", "k": K},
        }.items()
    ]
    relu = {"architecture": "relu", "l1_coefficient": 1.0}
    results += [
        step("relu, 50 % active, float32", x, n, "float32", arguments.repeats, products=5, target=1.15, **relu),
        step(
            "relu, 1.5 % active, float32",
            x,
            n,
            "float32",
            arguments.repeats,
            products=1,
            target=1.8,
            sparse=True,
            **relu,
        ),
        sweep(arguments.repeats, arguments.quick),
    ]
    publish_rows("train" + (" (quick)" if arguments.quick else ""), "the dense products, or one by one", results)


def member(n: int, d: int, rows: int, settings: dict[str, Any]) -> Member:
    settings = {"learning_rate": 1e-4, "warmup": 0.0, "decay": 0.0, "rows": 10**9, **settings}
    p = initial_parameters(first_directions("random", n, d, 0, lambda: torch.empty(0, d)), torch.zeros(d))
    return Member(Planned("hook", Path("bench"), settings), p, torch.device("cpu"))


def step(
    name: str,
    x: Tensor,
    n: int,
    dtype: str,
    repeats: int,
    *,
    products: int,
    target: float,
    sparse: bool = False,
    **settings: Any,
) -> Row:
    """Time a step against so many products of the encoder's size in the same dtype."""
    rows, d = x.shape
    measured = member(n, d, rows, {**settings, "compute_dtype": dtype})
    if sparse:
        make_sparse(measured.parameters, x)
    variance = x.square().sum()
    a, b = x.to(TORCH[dtype]), measured.parameters["W_enc"].to(TORCH[dtype]).T.contiguous()

    def floor() -> None:
        for _ in range(products):
            torch.mm(a, b)

    floored, took = ratio_of(floor, partial(measured.train_on, x=x, variance=variance), repeats)
    return Row(name, rows / took, rows / floored, "rows/s", 1 / target)


def make_sparse(p: Parameters, x: Tensor) -> None:
    """Lower the encoder's bias until `DENSITY` of the latents are active."""
    pre = x @ p["W_enc"].T
    p["b_enc"].fill_(-float(pre[:64].flatten().quantile(1 - DENSITY)))


def sweep(repeats: int, quick: bool) -> Row:
    """Time eight dictionaries of 1024 latents at d = 128 in one pass against one pass each."""
    n, d, rows = (128, 32, 128) if quick else (1024, 128, 2048)
    x = torch.randn(rows, d, generator=torch.Generator().manual_seed(0))
    variance = x.square().sum()
    members = [member(n, d, rows, {"architecture": "topk", "k": K, "seed": seed}) for seed in range(8)]
    act = partial(Member.train_on, x=x, variance=variance)

    def one_by_one() -> None:
        for single in members:
            act(single)

    def together(each: Callable[..., None]) -> None:
        each(act, members)

    # the threads of a sweep are set up once in a run: not part of a step
    one, both = [], []
    for _ in range(2):
        with side_by_side(len(members), torch.device("cpu")) as each:
            together(each)
            both.append(_seconds(partial(together, each), repeats))
        one.append(_seconds(one_by_one, repeats))
    return Row("8 topk dictionaries, n = 1024, d = 128", 8 * rows / min(both), 8 * rows / min(one), "rows/s", 2.0)


def _seconds(work: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
