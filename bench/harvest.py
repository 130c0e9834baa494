"""How much of the forward pass' speed is left when its activations go to disk.

    python -m bench.harvest [--quick]

A model of GPT-2 small's size with random weights is run over random tokens: alone, up to the last layer
that a hook needs, and as a harvest of 1 or 24 hooks into two shards, statistics, hashes and syncing to the disk
included, the last shard's too, behind which nothing is left to compute. The two take turns, so that a noisy
machine is equally noisy to both; the middle ratio counts.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from bench.table import Row, publish_rows
from harvest.make_shards import make_missing
from harvest.model_source import ModelSource
from harvest.plan import Plan
from winnow.config.experiment import DType, Experiment, HarvestSettings, ModelSettings, PositionPolicy, TextSettings
from winnow.model.forward import forward_passes
from winnow.model.hooks import resolve_hooks
from winnow.model.language_model import LanguageModel, open_model
from winnow.shards.contiguous import DataSet, create_contiguous
from winnow.tokens import TokenFile, open_tokens

TARGET = 0.93
HOOKS = {
    "1 hook": ["blocks.6.hook_resid_pre"],
    "24 hooks": ["blocks.*.hook_resid_post", "blocks.*.hook_mlp_out"],
}
TOKENS_PER_SHARD = 8192
SHARDS = 2


def save_model(folder: Path, quick: bool) -> None:
    size: dict[str, Any] = {"n_embd": 64, "n_layer": 12, "n_head": 2} if quick else {}
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**size)).save_pretrained(folder)
    embedded = Path(__file__).parents[1] / "data" / "tiny_gpt2"
    AutoTokenizer.from_pretrained(embedded).save_pretrained(folder)


def write_tokens(path: Path, context: int) -> TokenFile:
    sequences = SHARDS * TOKENS_PER_SHARD // context
    tokens = torch.randint(0, 4096, (sequences, context), generator=torch.Generator().manual_seed(0))
    attributes = {"fingerprint": "", "tokenizer": "", "text": "random", "bos": -1}
    layout = {"tokens": DataSet((sequences, context), tokens.int().numpy().dtype, {})}
    with create_contiguous(path, layout, attributes) as file:
        file.write("tokens", tokens.int().numpy())
    return open_tokens(path)


def ratio_of(first: Callable[[], None], second: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Time both in turns; return the median seconds of the second, and of the first scaled to the median ratio."""
    pairs = []
    for _ in range(repeats + 1):
        times = []
        for work in (first, second):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        pairs.append(times)
    pairs = pairs[1:]  # the first pair warms caches and allocators
    ratio = statistics.median(a / b for a, b in pairs)
    seconds = statistics.median(b for _, b in pairs)
    return ratio * seconds, seconds


def measure(
    model: LanguageModel, dtype: DType, context: int, hooks: str, folder: Path, repeats: int, *, compiled: bool = False
) -> Row:
    tokens = write_tokens(folder / "tokens.h5", context)
    batch = 1024 // context
    config = Experiment(
        config="",
        run=str(folder),
        model=ModelSettings(dtype=dtype),
        text=TextSettings(context=context),
        harvest=HarvestSettings(
            sequences_per_batch=batch, storage_dtype="float16" if dtype == "float32" else "bfloat16"
        ),
    )
    names = resolve_hooks(HOOKS[hooks], model.hooks)
    width = model.widths(names)
    plan = Plan(tokens.sequences, tokens.sequences // SHARDS, PositionPolicy())
    sequences = torch.from_numpy(tokens.read(0, tokens.sequences))

    def forward() -> None:
        for chunk in sequences.split(batch):
            model.activations(chunk, names[-1:])

    def harvest() -> None:
        shutil.rmtree(folder / "shards", ignore_errors=True)
        (folder / "shards").mkdir()
        make_missing(source, plan, range(SHARDS), config.harvest.storage_dtype, folder / "shards", lambda count: None)

    with forward_passes(model, names, batch if compiled else None) as passes:
        source = ModelSource(config, tokens, model, passes, width)
        alone, harvested = ratio_of(forward, harvest, repeats)
    count = SHARDS * TOKENS_PER_SHARD
    return Row(
        f"{hooks}, context {context}, {dtype}" + ", compiled" * compiled,
        count / harvested,
        count / alone,
        "tokens/s",
        TARGET,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small model, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds this")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder / "model", arguments.quick)
        for dtype in ("float32", "bfloat16"):
            model = open_model(ModelSettings(name=str(folder / "model"), dtype=dtype))
            for context in (128, 1024):
                for hooks, compiled in [*((hooks, False) for hooks in HOOKS), ("24 hooks", True)]:
                    if arguments.only in f"{hooks}, context {context}, {dtype}" + ", compiled" * compiled:
                        rows.append(measure(model, dtype, context, hooks, folder, arguments.repeats, compiled=compiled))
    publish_rows("harvest" + (" (quick)" if arguments.quick else ""), "forward pass alone", rows)


if __name__ == "__main__":
    main()
