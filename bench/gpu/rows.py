"""Whether rows from shards keep up with the steps."""

import itertools
import tempfile
from pathlib import Path

import torch

from bench.gpu.common import DEVICE, learner, note, note_speed, part, seconds

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false


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
