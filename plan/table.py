"""Print an estimate: what a run makes, what it takes, and the assumptions."""

import re
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from harvest.make_shards import FINISHING
from plan.duration import HarvestTime, TrainTime
from plan.estimate import Estimate, estimate
from plan.polytopes import PolytopeTime
from plan.space import Memory
from winnow.config.experiment import Experiment

WIDTH = 140


def print_plan(config: Experiment) -> None:
    """Print what the configuration takes on standard output. Raises `UserError` as `estimate` does."""
    found = estimate(config)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)  # wide enough to cut nothing off
    console.print(f"[bold]{config.config}[/] on {found.machine.name}; an estimate, nothing is run")
    for title, rows in (
        ("makes", _makes(found)),
        ("on disk", _disk(found)),
        ("time and memory", _stages(found)),
        ("assumed", _assumptions(found)),
    ):
        console.print(f"\n[bold]{title}[/]")
        console.print(_table(rows))
    console.print("\n[bold]in short[/]")
    for line in in_short(found):
        console.print(f"  {line}", style="green" if found.disk.total <= found.free else "yellow")


def in_short(found: Estimate) -> list[str]:
    """Say in three lines what a run takes; configs/gpt2-small*.toml have them as comments."""
    disk, memory = found.disk, found.memory
    besides = f", of which {size(disk.checkpoints)} while training" if disk.checkpoints else ""
    gpu = f"{size(memory.gpu)} on the GPU, " if found.machine.on_gpu else ""
    trains = f", {duration(found.train_seconds)}{_ceiling(found.config)} to train" if found.training else ""
    looks = f", {duration(found.polytopes.total)} for polytopes" if found.polytopes else ""
    return [
        f"disk: {size(disk.total)}{besides}",
        f"time: {duration(found.harvest_time.total)} to harvest{trains}{looks}",
        f"memory: {gpu}{size(memory.host)} on the host",
    ]


def _makes(found: Estimate) -> Iterable[tuple[str, str, str]]:
    config, plan = found.config, found.plan
    for name, hooks in _by_point(found.shape.hooks):
        width = found.shape.hooks[hooks[0]]
        yield name, f"{width:,}", "values in a row" + (f", at each of {len(hooks)}" if len(hooks) > 1 else "")
    dropped = " at most, less those of drop_tokens" if plan.policy.drop_tokens else ""
    of = "toy data" if config.toy else f"{plan.sequences:,} sequences, {found.sequences - plan.sequences:,} held out"
    yield "rows", f"{found.rows:,}", f"of {of}; in {plan.shards:,} shards{dropped}"
    count = sum(len(hook.sizes) for hook in found.training)
    seen = f"{found.training[0].sizes[0].rows:,} rows each{_ceiling(config)}" if count else "none is asked for"
    yield "dictionaries", f"{count:,}", seen


def _by_point(hooks: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Group hooks that differ only in their layer under one pattern."""
    points: dict[str, list[str]] = {}
    for hook in hooks:
        points.setdefault(re.sub(r"^blocks\.\d+\.", "blocks.*.", hook), []).append(hook)
    return [(point if len(names) > 1 else names[0], names) for point, names in points.items()]


def _ceiling(config: Experiment) -> str:
    return " at most" if config.train.rows == "converged" else ""


def _disk(found: Estimate) -> Iterable[tuple[str, str, str]]:
    disk = found.disk
    for name, count in disk._asdict().items():
        if count:
            yield name, size(count), "while a hook is trained" if name == "checkpoints" else ""
    lacking = "" if disk.total <= found.free else ": not enough"
    yield "in all", size(disk.total), f"{size(found.free)} are free at {found.config.run}{lacking}"


def _stages(found: Estimate) -> Iterable[tuple[str, ...]]:
    def row(name: str, seconds: float, memory: Memory, note: str) -> tuple[str, ...]:
        return name, duration(seconds), size(memory.host), size(memory.gpu) if found.machine.on_gpu else "-", note

    def parts(time: HarvestTime | TrainTime | PolytopeTime) -> str:
        return ", ".join(f"{part} {duration(seconds)}" for part, seconds in time._asdict().items())

    yield "", "time", "host", "GPU", ""
    yield row("harvest", found.harvest_time.total, found.harvest_memory, parts(found.harvest_time))
    alike: dict[tuple[TrainTime, Memory], list[str]] = {}
    for hook in found.training:
        alike.setdefault((hook.time, hook.memory), []).append(hook.hook)
    for (time, memory), hooks in alike.items():
        each = f"; each of {len(hooks)}" if len(hooks) > 1 else ""
        yield row(f"train {', '.join(dict(_by_point(hooks)))}", time.total, memory, parts(time) + each)
    seconds = found.harvest_time.total + found.train_seconds
    if found.polytopes is not None:
        seconds += found.polytopes.total
        yield row("polytopes", found.polytopes.total, found.harvest_memory, parts(found.polytopes))
    yield row("in all", seconds, found.memory, "one after another")


def _assumptions(found: Estimate) -> Iterable[tuple[str, str, str]]:
    m, forward = found.machine, found.config.model.dtype
    steps = [size.settings.compute_dtype for hook in found.training for size in hook.sizes]
    known = "data sheet" if m.on_gpu else "measured now"
    flops = found.shape.flops_per_token
    yield "forward pass", f"{flops / 1e6:,.0f} MFLOP", f"a token, up to the last hook, in {forward}"
    for dtype in dict.fromkeys((forward, *steps)):
        yield f"products in {dtype}", f"{m.flops[dtype] / 1e12:,.3g} TFLOP/s", known
    yield "memory", f"{m.memory_rate / 1e9:,.0f} GB/s", known
    yield "achieved share", f"{m.share:.0%}", "of both"
    yield "rows moved", f"{m.move_rate / 1e9:,.1f} GB/s", "sent from pinned memory" if m.on_gpu else "gathered"
    yield (
        "disk",
        f"{m.disk_rate / 1e9:,.1f} GB/s",
        f"and {m.disk_reads:,.0f} blocks of 8 rows a second; a harvest writes {m.written_share:.0%} of it",
    )
    who = "the GPU" if m.on_gpu else "one core"
    yield "counting", f"{m.seconds_per_value * 1e9:.2g} ns", f"a value, of {who}: cast, check, count"
    yield "hashing", f"{m.hash_rate / 1e9:.1f} GB/s", f"a core{f', of {FINISHING} at once' if m.on_gpu else ''}"
    yield "Python", f"{m.seconds_per_step * 1e3:.1f} ms", "a step of each stack of dictionaries"


def _table(rows: Iterable[tuple[str, ...]]) -> Table:
    listed = list(rows)
    table = Table.grid(padding=(0, 2), pad_edge=True)
    for column in range(max(map(len, listed))):
        table.add_column(justify="right" if 0 < column < len(listed[0]) - 1 else "left", no_wrap=True)
    for row in listed:
        table.add_row(*row)
    return table


def size(count: int | float) -> str:
    """Format bytes with three digits, in decimal units as disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 999.5 else f"{count:,.0f} TB"


def duration(seconds: float) -> str:
    """Format a time in the largest unit that matters, or in two."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 10 else f"{hours + (minutes >= 30)} h"
