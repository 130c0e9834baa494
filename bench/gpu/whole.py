"""Comparing directions, and all four stages as a user runs them."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from bench.gpu.common import DEVICE, GPU, drawn, note, note_speed, part, relative, seconds

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false
# ruff: noqa: B023 - a lambda is called before the loop goes on, and before `del`


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
