"""How long a step takes."""

import functools
import time

import torch

from bench.gpu.common import DEVICE, FOUND, GPU, drawn, learner, note, part, seconds

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false
# ruff: noqa: B023, F821 - a lambda is called before the loop goes on, and before `del`


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
