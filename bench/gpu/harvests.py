"""Whether a harvest is right, and what bounds it."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.gpu.common import DEVICE, GPU, drawn, note, note_speed, part, relative, seconds, wait

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false
# ruff: noqa: B023 - a lambda is called before the loop goes on, and before `del`


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
            for block, places in zip(on_device.split(rows // 3), positions.split(rows // 3), strict=True):
                count_rows({"h": block}, places, "float16", {"h": there})
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
