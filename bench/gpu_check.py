"""Check all of winnow's work on a GPU: first that it is right, then how fast it is. Run from the repository's root.

    python bench/gpu_check.py --out DIR [--only machine,kernels,...] [--budget 540] [--quick]

Parts are independent: an error is printed and the next part runs; no part begins once the budget (seconds) is spent.
`--quick` takes small sizes and also runs on a CPU, to test this file itself without a GPU.
"""

import argparse
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false
# ruff: noqa: B023, F821 - a lambda is called before the loop goes on, and before `del`
sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, where `train` and `harvest` are benchmarks

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
PARTS: dict = {}
FOUND: dict = {}
SETTINGS = {"rows": 10**9, "warmup": 0.0, "decay": 0.0, "slope_bound": 0.05, "similarity_bound": 0.9, "seed": 0}
KINDS = {
    "topk": {"k": 32, "auxk_coefficient": 1 / 32},
    "batchtopk": {"k": 32, "auxk_coefficient": 1 / 32},
    "matryoshka": {"k": 32, "auxk_coefficient": 1 / 32},
    "relu": {"l1_coefficient": 1.0},
    "jumprelu": {"l0_coefficient": 1.0, "bandwidth": 0.1},
    "gated": {"l1_coefficient": 1.0},
}


def part(work):
    PARTS[work.__name__] = work
    return work


def note(name, value, good=None):
    FOUND[name] = value
    mark = "" if good is None else "ok   " if good else "WRONG"
    print(f"  {mark:5} {name:64} {value if isinstance(value, str) else f'{value:.4g}'}", flush=True)


def note_speed(name, value, good):
    """Note a measured speed; only a GPU must meet its target."""
    note(name, value, good if GPU else None)


def wait():
    if GPU:
        torch.cuda.synchronize()


def seconds(work, repeats=7, warm=2):
    """Median seconds of the device for one call; the host waits before and after."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(repeats):
        wait()
        began = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def relative(found, wanted):
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-300))


def learner(kind, d, n, rows, dtype="float32", rate=1e-3, device=DEVICE, seed=0, **own):
    from train.learner import Learner
    from train.plan import Planned
    from train.settings import DictionarySettings
    from train.start.initialise import first_directions, initial_parameters

    given = {**SETTINGS, "architecture": kind, **KINDS[kind], "compute_dtype": dtype, "learning_rate": rate}
    given |= {"batch_rows": rows, "n_latents": n, "seed": seed, **own}
    directions = first_directions("random", n, d, seed, lambda: torch.empty(0, d))
    planned = Planned("hook", Path("check"), DictionarySettings(**given))
    return Learner(planned, initial_parameters(directions, torch.zeros(d)), device, 1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@part
def machine(quick):
    import h5py
    import safetensors
    import transformers

    versions = {m.__name__: m.__version__ for m in (torch, np, h5py, transformers, safetensors)}
    try:
        import triton

        versions["triton"] = triton.__version__
    except ImportError:
        pass
    note("versions", " ".join(f"{k} {v}" for k, v in versions.items()) + f", {os.cpu_count()} cores")
    note("device", torch.cuda.get_device_name() if GPU else "cpu")
    size = 2**20 if quick else 2**28  # floats
    a = torch.ones(size, device=DEVICE)
    b = torch.empty_like(a)
    note("copy on the device, GB/s (read + written)", 8 * size / seconds(lambda: b.copy_(a)) / 1e9)
    if GPU:
        host = torch.empty(size // 4, pin_memory=True)
        plain = torch.ones(size // 4)
        note("pinned, to the device, GB/s", size / seconds(lambda: b[: size // 4].copy_(host, non_blocking=True)) / 1e9)
        note("pinned, to the host, GB/s", size / seconds(lambda: host.copy_(a[: size // 4], non_blocking=True)) / 1e9)
        note("pageable, to the device, GB/s", size / seconds(lambda: b[: size // 4].copy_(plain)) / 1e9)
        small = torch.ones(64, device=DEVICE)
        wait()
        began = time.perf_counter()
        for _ in range(2000):
            small.add_(1)
        note("host time of a launch, us", (time.perf_counter() - began) / 2000 * 1e6)
        wait()
    shapes = [(256, 64, 512)] if quick else [(8192, 8192, 8192), (4096, 768, 24576), (16384, 768, 24576)]
    for rows, d, n in shapes:
        for name, dtype, tf32 in (
            ("bf16", torch.bfloat16, False),
            ("tf32", torch.float32, True),
            ("fp32", torch.float32, False),
        ):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            x, w = torch.randn(rows, d, device=DEVICE, dtype=dtype), torch.randn(n, d, device=DEVICE, dtype=dtype)
            took = seconds(lambda: x @ w.T)
            note(f"product {rows} x {d} x {n} {name}: TFLOP/s", 2 * rows * d * n / took / 1e12)
            FOUND[f"product ms {rows} {d} {n} {name}"] = took * 1e3
    torch.backends.cuda.matmul.allow_tf32 = False
    block = os.urandom(2**20 if quick else 2**27)
    began = time.perf_counter()
    hashlib.sha256(block).digest()
    note("sha256, one core, GB/s", len(block) / (time.perf_counter() - began) / 1e9)
    with tempfile.NamedTemporaryFile(dir=".") as file:
        began = time.perf_counter()
        for _ in range(1 if quick else 16):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        note("disk written and synced, GB/s", (1 if quick else 16) * len(block) / (time.perf_counter() - began) / 1e9)
    from harvest.accumulate import Accumulator

    x = drawn(512, 3072)
    counting = Accumulator(3072, 512)
    counting.add(x, torch.arange(512))
    note("statistics, one core, ns a value", seconds(lambda: counting.add(x, torch.arange(512)), 3) / x.numel() * 1e9)


@part
def kernels(quick):
    from train.kernels import dispatch as chosen
    from train.kernels import sparse

    if not GPU or not chosen.available(torch.zeros(1, device=DEVICE)):
        note("kernels", "none are used here")
        return
    for rows, n, k in [(33, 100, 7), (512, 24_576, 32), (64, 98_304, 64), (1, 5, 5), (300, 6144, 512)]:
        for dtype in (torch.float32, torch.bfloat16):
            pre = (drawn(rows, n) - 0.5).to(dtype).to(DEVICE)
            values, latents = chosen.top_k(pre, k)
            wanted = pre.float().relu().topk(k, dim=1).values
            right = torch.equal(values.sort(1).values, wanted.sort(1).values)
            right &= torch.equal(pre.float().relu().gather(1, latents), values) and bool(
                (latents.diff(dim=1) > 0).all()
            )
            note(f"top_k {rows} x {n}, k = {k}, {dtype}", "equal" if right else "differs", right)
    ties = torch.zeros(4, 5000, device=DEVICE)
    ties[0, 3::2], ties[1], ties[2, [7, 4500]], ties[3, 11] = (
        2.0,
        -1.0,
        torch.tensor([5.0, torch.inf], device=DEVICE),
        torch.nan,
    )
    values, latents = chosen.top_k(ties, 3)
    right = latents[0].tolist() == [3, 5, 7] and values[1].tolist() == [0.0] * 3 and int(values[3].isnan().sum()) == 1
    note("top_k of ties, zeros, infinity, NaN", str(values.tolist()), right)
    free = torch.cuda.mem_get_info()[0]
    if free > 2**34:  # more than 2^31 values: places need 64 bits
        pre = torch.zeros(24_576, 98_304, dtype=torch.bfloat16, device=DEVICE)
        pre[-1, -3:] = torch.tensor([1.0, 3.0, 2.0], dtype=torch.bfloat16, device=DEVICE)
        values, latents = chosen.top_k(pre, 3)
        right = latents[-1].tolist() == [98_301, 98_302, 98_303] and values[-1].tolist() == [1.0, 3.0, 2.0]
        note("top_k beyond 2^31 values", str(values[-1].tolist()), right)
        del pre
    for dtype in (torch.float32, torch.bfloat16):
        f = (drawn(300, 2000) - 1.5).relu().to(DEVICE)
        f[4], f[:, 6], f[:, 9] = 0, 0, 1
        active = sparse.where(f > 0, f)
        W, g = drawn(2000, 768, seed=1).to(DEVICE, dtype), drawn(300, 768, seed=2).to(DEVICE, dtype)
        error = relative(sparse.decode(active, W), f.double() @ W.double())
        note(f"decode {dtype}", error, error < 1e-5)
        rows = torch.repeat_interleave(active.offsets.diff())
        error = relative(sparse.gradient_of_values(active, W, g), (g.double() @ W.double().T)[rows, active.latents])
        note(f"gradient of values {dtype}", error, error < 1e-5)
        error = relative(
            sparse.weight_gradient(sparse.by_latent(active, 2000), active.values, g), f.double().T @ g.double()
        )
        note(f"weight gradient {dtype}", error, error < 1e-5)


@part
def steps(quick):
    """One step on the device against the same step in float64 on the CPU; bits twice; no waiting."""
    from train.architectures import StepContext, architecture_of
    from train.stack import Stack

    rows, d, n = (64, 16, 96) if quick else (512, 64, 1024)
    x = drawn(rows, d)
    for kind in KINDS:
        own = {"k": 5} if "k" in KINDS[kind] else {}
        one = learner(kind, d, n, rows, **own)
        architecture = architecture_of(one.objective)
        stacked = {name: value.unsqueeze(0) for name, value in one.parameters.items()}
        double = {name: value.cpu().double().clone() for name, value in stacked.items()}
        dead = (torch.arange(n) % 3 == 0)[None]
        try:
            here = architecture.step(stacked, x.to(DEVICE), StepContext(1.0, dead.to(DEVICE))).summed()
            there = architecture.step(double, x.double(), StepContext(1.0, dead))
            worst = max(relative(here.gradients[name], value) for name, value in there.gradients.items())
            worst = max(worst, relative(here.loss, there.loss))
            note(f"step of {kind}, float32 against float64 on the CPU", worst, worst < 1e-4)
            low = architecture_of(dataclasses.replace(one.objective, compute_dtype="bfloat16"))
            here = low.step(stacked, x.to(DEVICE), StepContext(1.0, dead.to(DEVICE))).summed()
            worst = max(relative(here.gradients[name], there.gradients[name]) for name in ("W_enc", "W_dec", "b_dec"))
            note(
                f"step of {kind}, bfloat16 against float64 on the CPU", worst, worst < 0.25
            )  # a k-th largest may change places
            runs = []
            for _ in range(2):
                stack = Stack([learner(kind, d, n, rows, **own)])
                stack.silent_rows[:, ::3] = 10**9  # dead
                for batch in range(20):
                    y = drawn(rows, d, seed=batch).to(DEVICE)
                    stack.train_on(y, y.square().sum())
                runs.append({name: value.cpu() for name, value in stack.learners[0].state()[0].items()})
            unequal = [name for name in runs[0] if not torch.equal(runs[0][name], runs[1][name])]
            note(f"20 steps of {kind} twice, bits", "equal" if not unequal else f"differ in {unequal}", not unequal)
            if GPU:
                stack = Stack([learner(kind, d, n, rows, **own)])
                y = x.to(DEVICE)
                variance = y.square().sum()
                stack.train_on(y, variance)
                torch.cuda.set_sync_debug_mode("error")
                try:
                    stack.train_on(y, variance)
                    note(f"step of {kind} makes the host wait", "no", True)
                except RuntimeError as error:
                    note(f"step of {kind} makes the host wait", str(error).splitlines()[0][:90], False)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
        except Exception as error:  # the next kind may still work
            note(f"step of {kind}", f"{type(error).__name__}: {str(error)[:120]}", False)
            traceback.print_exc(limit=-3)


@part
def resume(quick):
    """Ten steps, and five, a checkpoint on disk and five more: the same bits, in one stack of three."""
    from train.checkpoint import read_checkpoint, write_checkpoint
    from train.stack import Stack

    rows, d, n = 256, 64, 512
    for kind in ("topk", "batchtopk", "relu"):
        grid = [{"seed": seed, **({"k": 8 + seed} if "k" in KINDS[kind] else {})} for seed in range(3)]
        ends = []
        with tempfile.TemporaryDirectory(dir=".") as folder:
            for stops in (False, True):
                some = [learner(kind, d, n, rows, **own) for own in grid]
                stack = Stack(some)
                for batch in range(10):
                    if stops and batch == 5:
                        for number, one in enumerate(some):
                            write_checkpoint(Path(folder, str(number)), *one.state())
                        some = [learner(kind, d, n, rows, **own) for own in grid]
                        for number, one in enumerate(some):
                            one.load_state(*read_checkpoint(Path(folder, str(number)), 5 * rows))
                        stack = Stack(some)
                    y = drawn(rows, d, seed=batch).to(DEVICE)
                    stack.train_on(y, y.square().sum())
                ends.append([{name: value.cpu().clone() for name, value in one.state()[0].items()} for one in some])
        unequal = {name for a, b in zip(*ends, strict=True) for name in a if not torch.equal(a[name], b[name])}
        note(
            f"{kind}, resumed against uninterrupted, bits",
            "equal" if not unequal else f"differ in {sorted(unequal)}",
            not unequal,
        )


@part
def speed(quick):
    """Milliseconds of a step, on the device and on the host, against the encoder's product in the same dtype."""
    from train.stack import Stack

    shapes = [(256, 64, 512)] if quick else [(4096, 768, 24_576), (16_384, 768, 24_576), (16_384, 768, 131_072)]
    print(f"  {'':44} {'step ms':>9} {'host ms':>9} {'product':>9} {'times':>6} {'GiB':>6}")
    for rows, d, n in shapes:
        x = drawn(rows, d).to(DEVICE)
        variance = x.square().sum()
        for kind in ("topk", "batchtopk", "relu", "jumprelu"):
            for dtype in ("bfloat16", "float32"):
                if n > 100_000 and dtype == "float32":
                    continue
                try:
                    if GPU:
                        torch.cuda.reset_peak_memory_stats()
                    stack = Stack([learner(kind, d, n, rows, dtype, rate=1e-9)])
                    step = functools.partial(stack.train_on, x, variance)
                    hosts = []

                    def several(step=step, hosts=hosts):  # as in training, where nobody waits between two steps
                        began = time.perf_counter()
                        for _ in range(5):
                            step()
                        hosts.append((time.perf_counter() - began) / 5)

                    took = seconds(several, 3, 1) / 5
                    host = min(hosts)
                    low = torch.bfloat16 if dtype == "bfloat16" else torch.float32
                    a, b = x.to(low), stack.parameters["W_enc"][0].to(low)
                    floor = seconds(lambda: a @ b.T, 5)
                    peak = torch.cuda.max_memory_allocated() / 2**30 if GPU else 0.0
                    name = f"{kind} {rows} x {n} {dtype}"
                    FOUND[name] = {"step": took * 1e3, "host": host * 1e3, "product": floor * 1e3, "GiB": peak}
                    times = f"{took * 1e3:9.3f} {host * 1e3:9.3f} {floor * 1e3:9.3f} {took / floor:6.2f} {peak:6.1f}"
                    print(f"  {name:44} {times}", flush=True)
                    del stack, step, a, b
                except Exception as error:
                    note(f"{kind} {rows} x {n} {dtype}", f"{type(error).__name__}: {str(error)[:100]}", False)
                if GPU:
                    torch.cuda.empty_cache()


@part
def dead(quick):
    """Milliseconds of a step that revives dead latents, and of the architectures that `speed` leaves out."""
    from train.stack import Stack

    rows, d, n = (256, 64, 512) if quick else (16_384, 768, 24_576)
    x = drawn(rows, d).to(DEVICE)
    variance = x.square().sum()
    some = [0, n // 48, n // 5]
    for kind, count in (*(("topk", count) for count in some), ("batchtopk", some[1]), ("matryoshka", 0), ("gated", 0)):
        stack = Stack([learner(kind, d, n, rows, "bfloat16", rate=1e-9)])

        def several(stack=stack, count=count):
            for _ in range(5):
                stack.silent_rows[0, :count] = 10**12
                stack.train_on(x, variance)

        note(f"{kind} {rows} x {n} bfloat16, {count} dead: ms a step", seconds(several, 3, 1) / 5 * 1e3)


@part
def pieces(quick):
    """The parts of a topk step's time, and the cost of a latent that fires in every row."""
    from train.kernels import sparse
    from train.kernels.ranking import top_k
    from train.kernels.sparse import Active

    rows, d, n, k = (256, 64, 512, 8) if quick else (16_384, 768, 24_576, 32)
    for dtype in (torch.bfloat16, torch.float32) if GPU else (torch.float32,):
        pre = torch.randn(rows, n, device=DEVICE).to(dtype)
        x = torch.randn(rows, d, device=DEVICE).to(dtype)
        W = torch.randn(n, d, device=DEVICE).to(dtype)
        tag = f"{rows} x {n}, {str(dtype)[6:]}: ms of"
        note(f"{tag} top_k here", seconds(lambda: top_k(pre, k)) * 1e3)
        note(f"{tag} torch.topk", seconds(lambda: pre.topk(k, dim=1, sorted=False), 3, 1) * 1e3)
        note(f"{tag} one pass over it (amax)", seconds(lambda: pre.amax(1)) * 1e3)
        if pre.numel() < 2**31:
            note(
                f"{tag} largest of the whole batch",
                seconds(lambda: sparse.active_largest(pre[None], [k * rows]), 3, 1) * 1e3,
            )
        even = torch.randint(n, (rows, k), device=DEVICE).sort(1).values
        weights = 1 / (torch.arange(n, device=DEVICE) + 1.0)
        skewed = (
            torch.multinomial(weights.expand(min(rows, 4096), n), k).repeat(-(-rows // 4096), 1)[:rows].sort(1).values
        )
        for name, latents in (("even", even), ("skewed as 1/rank", skewed)):
            offsets = torch.arange(0, rows * k + 1, k, device=DEVICE)
            active = Active(offsets, latents.flatten(), torch.rand(rows * k, device=DEVICE))
            groups = sparse.by_latent(active, n)
            note(f"{tag} decode, {name}", seconds(lambda a=active: sparse.decode(a, W)) * 1e3)
            note(
                f"{tag} gradient of values, {name}", seconds(lambda a=active: sparse.gradient_of_values(a, W, x)) * 1e3
            )
            note(f"{tag} by latent, {name}", seconds(lambda a=active: sparse.by_latent(a, n)) * 1e3)
            note(
                f"{tag} weight gradient, {name}",
                seconds(lambda a=active, g=groups: sparse.weight_gradient(g, a.values, x)) * 1e3,
            )
            note(f"{tag} sum by latent, {name}", seconds(lambda a=active: sparse.sum_by_latent(a, a.values, n)) * 1e3)
        del pre
    if GPU:
        from torch.profiler import ProfilerActivity, profile

        from train.stack import Stack

        stack, y = Stack([learner("topk", d, n, rows, "bfloat16", rate=1e-9)]), torch.randn(rows, d, device=DEVICE)
        for _ in range(3):
            stack.train_on(y, y.square().sum())
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(3):
                stack.train_on(y, y.square().sum())
            wait()
        print(seen.key_averages().table(sort_by="cuda_time_total", row_limit=22, max_name_column_width=60))


@part
def reading(quick):
    """A step on rows from shards, against one on rows in the device's memory."""
    from bench.train import TOPK, Shape, loader_of
    from train.device_windows import batches_on
    from train.link import link_to
    from train.stack import Stack

    shape = Shape(256, 64, 512) if quick else Shape(4096, 768, 24_576)
    batches = 24
    with tempfile.TemporaryDirectory(dir=".") as folder:
        loader = loader_of(Path(folder), shape, batches)
        stack = Stack([learner("topk", shape.d, shape.n, shape.rows, "bfloat16", rate=1e-9, **TOPK)])
        held = [x.to(DEVICE).float() for x in loader.batches(0, 4 * shape.rows, shape.rows)]
        link = link_to(DEVICE)
        # the device has room for the windows, or has not; a stream's first window is read before anything is timed
        streams = {room: batches_on(loader, link, room, 0, 10**15, shape.rows) for room in (2**62, 0)}

        def feed(source):
            for x in source:
                x = x.to(DEVICE).float()
                stack.train_on(x, x.square().sum())

        def next_of(room):
            return itertools.islice(streams[room], batches)

        kept = seconds(lambda: feed(held * 6), 3, 1) / batches
        shards = seconds(lambda: feed(next_of(2**62)), 3, 1) / batches
        from_host = seconds(lambda: feed(next_of(0)), 3, 1) / batches
        gather = seconds(lambda: [None for _ in next_of(2**62)], 3, 1) / batches
        same = zip(
            batches_on(loader, link, 2**62, 0, batches * shape.rows, shape.rows),
            loader.batches(0, batches * shape.rows, shape.rows),
            strict=True,
        )
        wrong = sum(not torch.equal(x.cpu(), y) for x, y in same)
    note("batches gathered on the device that are not the host's", wrong, wrong == 0)
    note("a step from the device's memory, ms", kept * 1e3)
    note_speed("a step from shards, ms", shards * 1e3, shards < 1.05 * kept)
    note("a step from shards, windows in host memory, ms", from_host * 1e3)
    note("reading and gathering alone, ms a batch", gather * 1e3)


def harvested(
    folder,
    model,
    hooks,
    tokens,
    context,
    batch,
    device,
    dtype="float32",
    stored="float16",
    positions=None,
    shards=2,
    there=None,
):
    """Harvest random tokens into shards; return the seconds, those of the forward passes alone, and the hashes.

    there: whether the device counts its rows; None: a GPU does.
    """
    from harvest.make_shards import make_missing
    from harvest.model_source import ModelSource
    from harvest.plan import Plan
    from winnow.config.experiment import Experiment, HarvestSettings, ModelSettings, TextSettings
    from winnow.model.forward import forward_passes
    from winnow.model.hooks import resolve_hooks
    from winnow.model.language_model import open_model
    from winnow.positions import position_policy
    from winnow.shards.contiguous import DataSet, create_contiguous
    from winnow.tokens import open_tokens

    folder.mkdir(parents=True)
    ids = torch.randint(0, 1000, (tokens // context, context), generator=torch.Generator().manual_seed(0)).int().numpy()
    said = {"fingerprint": "", "tokenizer": "", "text": "random", "bos": -1, "settings": '{"model.revision": "main"}'}
    with create_contiguous(folder / "tokens.h5", {"tokens": DataSet(ids.shape, ids.dtype, {})}, said) as file:
        file.write("tokens", ids)
    config = Experiment(
        config="",
        run=str(folder),
        model=ModelSettings(name=model, dtype=dtype, device=device),
        text=TextSettings(context=context),
        harvest=HarvestSettings(
            sequences_per_batch=batch, storage_dtype=stored, **({"positions": positions} if positions else {})
        ),
    )
    opened = open_model(config.model)
    names = resolve_hooks(hooks, opened.hooks, opened.refused)
    plan = Plan(len(ids), len(ids) // shards, position_policy(config))
    with forward_passes(opened, names) as passes:
        source = ModelSource(config, open_tokens(folder / "tokens.h5"), opened, passes, opened.widths(names))
        opened.activations(torch.from_numpy(ids[:batch]), names)
        wait()
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        make_missing(source, plan, range(shards), stored, folder, lambda count: None, count_on_device=there)
        took = time.perf_counter() - began
        peak = torch.cuda.max_memory_allocated() / 2**30 if GPU else 0.0
        began = time.perf_counter()
        for chunk in torch.from_numpy(ids).split(batch):
            opened.activations(chunk, names[-1:])
        wait()
        alone = time.perf_counter() - began
    hashes = [json.loads(path.read_text())["sha256"] for path in sorted(folder.glob("shard-*.json"))]
    return took, alone, hashes, names, peak


def counted_there(rows, width):
    """Statistics of the same rows by the device and by the CPU, twice; and the time that a value takes the device."""
    from harvest.accumulate import Accumulator
    from harvest.device_accumulator import DeviceAccumulator, count_rows

    for dtype in (torch.float32, torch.bfloat16):
        x = (drawn(rows, width) ** 3 + torch.arange(width) / 100).to(dtype)
        positions = torch.arange(len(x), dtype=torch.int32) % 100
        here, found = Accumulator(width, 100), []
        here.add(x, positions)
        on_device = x.to(DEVICE)
        for _ in range(2):
            there = DeviceAccumulator(width, 100, DEVICE)
            for part, places in zip(on_device.split(rows // 3), positions.split(rows // 3), strict=True):
                count_rows({"h": part}, places, "float16", {"h": there})
            found.append(there.result())
        wanted = here.result()
        worst = max(
            relative(torch.from_numpy(getattr(found[0], name)), torch.from_numpy(getattr(wanted, name)))
            for name in ("mean", "m2", "m3", "m4", "norm_sum", "histogram", "norm_histogram")
        )
        twice = all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
        note(f"statistics counted on the device, {dtype}", worst, worst < 1e-5)
        note(f"the same bits twice, {dtype}", str(twice), twice)
        took = seconds(lambda: count_rows({"h": on_device}, positions, "float16", {"h": there}), 3, 1)
        note(f"cast, check and count there, {dtype}: ns a value", took / x.numel() * 1e9)


@part
def harvest(quick):
    """Rows and statistics of the device against the CPU's, and the same bytes in two harvests."""
    import h5py

    counted_there(*((500, 96) if quick else (8192, 3072)))

    root = Path(tempfile.mkdtemp(dir="."))
    try:
        hooks = ["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"]
        tokens = 4096 if quick else 8192
        for positions in (None, {"random": 16}):
            made = {}
            for name, device in (("cpu", "cpu"), ("gpu", DEVICE.type), ("again", DEVICE.type)):
                place = root / f"{name}{positions is None}"
                made[name] = harvested(
                    place,
                    *("data/tiny_gpt2", hooks, tokens, 64, 24, device),
                    stored="float32",
                    positions=positions,
                    there=name != "cpu",
                )
            note(
                f"harvest twice, positions {positions}: bytes",
                "equal" if made["gpu"][2] == made["again"][2] else "differ",
                made["gpu"][2] == made["again"][2],
            )
            worst = moments = 0.0
            for shard in ("shard-00000.h5", "shard-00001.h5"):
                with (
                    h5py.File(root / f"cpu{positions is None}" / shard) as one,
                    h5py.File(root / f"gpu{positions is None}" / shard) as two,
                ):
                    for hook in made["cpu"][3]:
                        a, b = (torch.from_numpy(f[f"activations/{hook}"][:]) for f in (one, two))
                        worst = max(worst, relative(b, a))
                        a, b = (torch.from_numpy(f[f"statistics/{hook}/m4"][:]) for f in (one, two))
                        moments = max(moments, relative(b, a))
                        assert np.array_equal(one["token"][:], two["token"][:])
            note(f"harvest against the CPU's, positions {positions}", worst, worst < 1e-4)
            note(f"its fourth moments, positions {positions}", moments, moments < 1e-3)
    finally:
        shutil.rmtree(root)


def disk_rate(folder, size, files=4):
    """Bytes a second that a disk takes of so many files at once, written and synced."""
    from concurrent.futures import ThreadPoolExecutor

    block = os.urandom(2**20)

    def write(number):
        with (folder / f"disk-{number}").open("wb", buffering=0) as file:
            for _ in range(size // files // len(block)):
                file.write(block)
            os.fsync(file.fileno())

    began = time.perf_counter()
    with ThreadPoolExecutor(files) as pool:
        list(pool.map(write, range(files)))
    took = time.perf_counter() - began
    for number in range(files):
        (folder / f"disk-{number}").unlink()
    return size / took


def bus_rate():
    """Bytes a second from the device to pinned memory; on a CPU there is no bus."""
    if not GPU:
        return float("inf")
    there = torch.empty(2**27, device=DEVICE)
    here = torch.empty(2**27, pin_memory=True)
    return 2**29 / seconds(lambda: here.copy_(there, non_blocking=True), 3, 1)


@part
def gpt2(quick):
    """A model of GPT-2 small's size with random weights, 24 hooks at context 1024, to disk; and what bounds it."""
    from bench.harvest import save_model

    root = Path(tempfile.mkdtemp(dir="."))
    try:
        save_model(root / "model", quick)
        hooks = ["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"]
        bus = bus_rate()
        for dtype, stored, tokens in (("float32", "float16", 131_072), ("bfloat16", "bfloat16", 131_072)):
            context, batch = (64, 4) if quick else (1024, 8)
            tokens = 1024 if quick else tokens
            disk = disk_rate(root, 2**23 if quick else 2**32)
            took, alone, _, names, peak = harvested(
                root / dtype,
                *(str(root / "model"), hooks, tokens, context, batch, DEVICE.type, dtype, stored),
                shards=4 if quick else 16,  # what is left to do for the last of them is a sixteenth
                there=True,
            )
            stored_bytes = sum(path.stat().st_size for path in (root / dtype).glob("shard-*.h5"))
            note(f"harvest {len(names)} hooks, {dtype}: tokens/s", tokens / took)
            note(f"forward alone, {dtype}: tokens/s", tokens / alone)
            note(f"bytes a token, {dtype}", stored_bytes / tokens)
            note(f"disk, written and synced in the same run, {dtype}: GB/s", disk / 1e9)
            note(f"GB/s to disk, {dtype}", stored_bytes / took / 1e9)
            bounds = {"forward pass": tokens / alone} | {
                name: rate * tokens / stored_bytes for name, rate in (("bus", bus), ("disk", disk))
            }
            least = min(bounds, key=lambda name: bounds[name])
            note(f"bounds, {dtype}: tokens/s", ", ".join(f"{name} {rate:,.0f}" for name, rate in bounds.items()))
            share = tokens / took / bounds[least]
            note_speed(f"share of the smallest of them, the {least}, {dtype}", share, share >= 0.9)
            if GPU:
                note(f"GPU GiB at the peak, {dtype}", peak)
            shutil.rmtree(root / dtype)
    finally:
        shutil.rmtree(root)


@part
def cosines(quick):
    from analyze.compare.cosines import BLOCK, max_cosines

    n = 1024 if quick else 24_576
    a, b = drawn(n, 768), drawn(n, 768, seed=1)
    for device in dict.fromkeys((DEVICE, torch.device("cpu"))):
        x, y = a.to(device), b.to(device)

        def bare():
            for rows in x.split(BLOCK):
                for columns in y.split(BLOCK):
                    rows @ columns.T

        product, whole = seconds(bare, 3, 1), seconds(lambda: max_cosines(x, y), 3, 1)
        note(f"max-cosines {n} on {device}: s", whole)
        note_speed(f"times the product, on {device}", whole / product, whole < 1.3 * product)
    if GPU:
        here, there = max_cosines(a.to(DEVICE), b.to(DEVICE))[0], max_cosines(a, b)[0]
        note("max-cosines, device against CPU", relative(here, there), relative(here, there) < 1e-5)


@part
def pipeline(quick):
    """All four stages as a user runs them, on the device and on the CPU; the curves' ends; loading on the device."""
    import winnow

    root = Path(tempfile.mkdtemp(dir="."))
    size = ["--text.tokens", "200000", "--train.rows", "400000"]
    if quick:  # two sizes of each architecture at one hook
        hooks, sizes = ["blocks.2.hook_resid_post"], {"n_latents": [128, 256], "learning_rate": 4e-3}
        grids = [{"architecture": "topk", "k": 24, **sizes}, {"architecture": "relu", "l1_coefficient": 2.5, **sizes}]
        size = ["--text.tokens", "24000", "--text.held_out_sequences", "32", "--train.rows", "20480"]
        size += ["--harvest.hooks", json.dumps(hooks), "--train.dictionaries", json.dumps(grids)]
    try:
        ends = {}
        for device in dict.fromkeys((DEVICE.type, "cpu")):
            run = root / device
            for stage in ("data", "harvest", "train", "analyze"):
                if stage == "analyze" and device == "cpu" and GPU:
                    continue
                began = time.perf_counter()
                keys = ["--config", "configs/demo.toml", "--run", str(run), "--model.device", device, *size]
                done = subprocess.run([sys.executable, "-m", stage, *keys], capture_output=True, text=True, timeout=200)
                note(f"{stage} on {device}: s", time.perf_counter() - began, done.returncode == 0)
                if done.returncode:
                    print(done.stdout[-1500:], done.stderr[-3000:])
                    return
            curves = sorted(run.glob("dictionaries/*/*/metrics.jsonl"))
            ends[device] = {
                c.parent.name + c.parent.parent.name: json.loads(c.read_text().splitlines()[-1]) for c in curves
            }
        if GPU:
            worst = max(abs(end["eval_fvu"] / ends["cpu"][name]["eval_fvu"] - 1) for name, end in ends["cuda"].items())
            note("FVU of held-out rows, device against CPU, worst", worst, worst < 0.02)
        for one in winnow.load_dictionaries(root / DEVICE.type)[:2]:
            x = drawn(64, one.d_model)
            wanted = one(x)
            error = relative(one.to(DEVICE)(x.to(DEVICE)), wanted)
            note(f"load_dictionary on {DEVICE.type}, {one.architecture}", error, error < 1e-4)
    finally:
        shutil.rmtree(root)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--budget", type=float, default=540)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-triton", action="store_true", help="the way of a machine without it")
    asked = parser.parse_args()
    if asked.no_triton:
        from train.kernels import dispatch as chosen

        chosen.available = lambda tensor: False
    asked.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for name in asked.only.split(","):
        if time.monotonic() - began > asked.budget:
            print(f"{name}: no time left")
            continue
        print(f"\n== {name} (at {time.monotonic() - began:.0f} s)", flush=True)
        try:
            PARTS[name](asked.quick)
        except Exception:
            traceback.print_exc()
            FOUND[f"{name} failed"] = traceback.format_exc(limit=-4)
        (asked.out / "found.json").write_text(json.dumps(FOUND, indent=1))
    print(f"\nall of it took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
