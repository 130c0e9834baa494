"""The rates of the machine, by which all later numbers are divided."""

import hashlib
import os
import tempfile
import time

import numpy as np
import torch

from bench.gpu.common import DEVICE, FOUND, GPU, drawn, note, part, seconds, wait

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false
# ruff: noqa: B023 - a lambda is called before the loop goes on, and before `del`


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
