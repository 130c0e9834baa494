"""How well winnow's dictionaries reconstruct, against those of the libraries that people use for it.

    make bench-quality                                         # installs the peers into .venv-peers first
    python -m bench.quality [--trainers winnow …] [--architectures relu …] [--seeds 0 …] [--quick]

Every trainer gets the same rows of the demo's residual stream in the same batches and order. Each dictionary is opened
with `winnow.load_dictionary` and measured on the same held-out rows: FVU at equal L0, each trainer at the best of five
learning rates, the mean of three seeds (docs/results/quality.md). What was measured of each is kept in
runs/quality/rows: stop whenever you like, and start again. Remove files there to train their dictionaries anew.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.command_line import bench_parser
from bench.peers import PEERS, ROOT
from bench.quality.plan import ARCHITECTURES, SEEDS, TRAINERS, Cell, Scope, Setup, cells, groups
from bench.quality.results import OURS, against_best_peer, as_markdown, match_all, other_seeds
from bench.quality.rows import Quality, read_rows
from bench.quality.store import HOOK, harvest
from bench.table import publish_rows
from winnow.errors import UserError
from winnow.runtime.progress import progress_bar

RUN = ROOT / "runs" / "quality"
FULL = {"rows": 400_000, "batch_rows": 2000, "n_latents": 1024, "held_out_rows": 16_384}
QUICK = {"rows": 16_000, "batch_rows": 500, "n_latents": 256, "held_out_rows": 2048}
QUICK_TOKENS = 30_000
CORES = 2  # the time that docs/results/quality.md states is that of two


def measure_scope(run: Path, setup: Setup, scope: Scope, *, apart: bool = True) -> Mapping[Cell, Quality]:
    """Measure every rate with the first seed, then the best rates with the other seeds."""
    first = measure_cells(run, setup, cells(scope), apart=apart)
    others = other_seeds(first, scope.seeds[1:])
    return {**first, **measure_cells(run, setup, others, apart=apart)} if others else first


def measure_cells(run: Path, setup: Setup, wanted: Sequence[Cell], *, apart: bool = True) -> Mapping[Cell, Quality]:
    """Train and measure what is missing, a process per group of cells, a core each; return all that was measured."""
    rows = run / "rows"
    there = read_rows(rows, setup, wanted)
    waiting = groups((cell for cell in wanted if cell not in there), apart=apart)
    with (
        progress_bar("quality", len(wanted), "dictionaries", done=len(there)) as bar,
        tempfile.TemporaryDirectory(dir=run) as work,
        ThreadPoolExecutor(min(CORES, os.cpu_count() or 1)) as pool,
    ):
        started = [
            pool.submit(_run, group, setup, rows, Path(work, str(number)), lambda name: bar.advance(1, name))
            for number, group in enumerate(waiting)
        ]
        with contextlib.ExitStack() as cancelling:
            cancelling.callback(lambda: [future.cancel() for future in started])
            for future in started:
                future.result()
    return read_rows(rows, setup, wanted)


def _run(group: Sequence[Cell], setup: Setup, rows: Path, work: Path, done: Callable[[str], None]) -> None:
    """Train and measure a group in the environment of its trainer."""
    first = group[0]
    work.mkdir()
    request = work / "request.json"
    asked = {"setup": setup.to_json(), "cells": group, "rows": str(rows), "work": str(work / "dictionaries")}
    request.write_text(json.dumps(asked), encoding="utf-8")
    python = sys.executable if first.trainer == OURS else str(PEERS)
    began = time.perf_counter()
    with (
        (work / "said.txt").open("w+", encoding="utf-8") as said,
        subprocess.Popen(
            [python, "-m", "bench.quality.worker", str(request)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "WANDB_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            done(line.strip())
        if process.wait():
            said.seek(0)
            raise UserError(f"{first.trainer}, {first.architecture}, seed {first.seed} stopped:\n{said.read()[-4000:]}")
    print(
        f"{first.trainer}, {first.architecture}, seed {first.seed}: {len(group)} dictionaries in "
        f"{time.perf_counter() - began:.0f} s",
        file=sys.stderr,
    )


def publish(measured: Mapping[Cell, Quality], *, quick: bool) -> None:
    """Print every trainer's numbers, then winnow's beside the best peer's, and keep these in the results file."""
    table = match_all(measured)
    print("\n".join(as_markdown(table)))
    publish_rows("quality", "best peer", against_best_peer(table), quick=quick)


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=TRAINERS, help="all by default")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES, help="likewise")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="0 1 2; 0 with --quick")
    arguments = parser.parse_args(argv)
    if set(arguments.trainers) != {OURS} and not PEERS.exists():
        sys.exit(f"{PEERS}: no such file; run make bench-quality, which installs the peers")
    scope = Scope(trainers=arguments.trainers, architectures=arguments.architectures, seeds=arguments.seeds)
    if arguments.quick:
        scope = dataclasses.replace(scope, seeds=SEEDS[:1], few=True)
        with tempfile.TemporaryDirectory() as name:
            setup = Setup(activations=str(harvest(Path(name), QUICK_TOKENS)), hook=HOOK, **QUICK)
            publish(measure_scope(Path(name), setup, scope, apart=False), quick=True)
    else:
        setup = Setup(activations=str(harvest(RUN)), hook=HOOK, **FULL)
        publish(measure_scope(RUN, setup, scope), quick=False)


if __name__ == "__main__":
    main()
