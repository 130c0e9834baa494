"""How fast a harvest is, against the model's forward pass alone.

    python -m bench.harvest [--quick] [--repeats 3] [--only TEXT]

A model of GPT-2 small's size with random weights runs over random tokens: alone, up to the last layer
that a hook needs, and as a harvest of 1 or 24 hooks into two shards, with statistics, hashes and syncing to disk. The
last shard counts too, although no computation hides its writing. Both are timed in turns, so that a noisy machine is
equally noisy to both; the median ratio counts.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from bench.command_line import bench_parser, repeats_of
from bench.table import Row, publish_rows
from bench.timing import ratio_of
from data.token_file import TokenOrigin, write_token_file
from data.tokens import token_settings
from harvest.make_shards import make_missing
from harvest.model_source import ModelSource
from harvest.plan import Plan
from winnow.config.dtypes import DType
from winnow.config.experiment import Experiment, HarvestSettings, ModelSettings, TextSettings
from winnow.config.positions import PositionPolicy
from winnow.model.forward import forward_passes
from winnow.model.hooks import resolve_hooks
from winnow.model.language_model import LanguageModel, open_model
from winnow.runtime.announce import lacks_bfloat16
from winnow.tokens import TokenFile, open_tokens

TARGET = 0.93
SHARDS = 2
QUICK_LAYERS = 2
DTYPES: tuple[DType, ...] = ("float32", "bfloat16")


class Case(NamedTuple):
    """A row of the table."""

    hooks: str
    patterns: list[str]
    context: int
    dtype: DType
    compiled: bool = False

    @property
    def name(self) -> str:
        return f"{self.hooks}, context {self.context}, {self.dtype}" + ", compiled" * self.compiled


def make_cases(layers: int, contexts: tuple[int, ...]) -> list[Case]:
    """List the rows: the middle of the residual stream, and two hooks of every layer, these also compiled."""
    middle = [f"blocks.{layers // 2}.hook_resid_pre"]
    every = ["blocks.*.hook_resid_post", "blocks.*.hook_mlp_out"]
    kinds = (("1 hook", middle, False), (f"{2 * layers} hooks", every, False), (f"{2 * layers} hooks", every, True))
    return [
        Case(hooks, patterns, context, dtype, compiled)
        for dtype in DTYPES
        for context in contexts
        for hooks, patterns, compiled in kinds
    ]


def save_model(folder: Path, quick: bool) -> None:
    size: dict[str, Any] = {"n_embd": 64, "n_layer": QUICK_LAYERS, "n_head": 2} if quick else {}
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**size)).save_pretrained(folder)
    embedded = Path(__file__).parents[1] / "data" / "tiny_gpt2"
    AutoTokenizer.from_pretrained(embedded).save_pretrained(folder)


def write_random_tokens(folder: Path, config: Experiment, sequences: int) -> TokenFile:
    """Write random tokens as the data stage writes those of a text."""
    tokens = np.random.default_rng(0).integers(0, 4096, (sequences, config.text.context), dtype=np.int32)
    path = folder / "tokens.h5"
    write_token_file(path, lambda: [tokens], config, token_settings(config), TokenOrigin(bos=-1))
    return open_tokens(path)


def measure(model: LanguageModel, case: Case, tokens_per_shard: int, folder: Path, repeats: int) -> Row:
    """Time the forward pass alone and the harvest into `SHARDS` shards."""
    batch = 1024 // case.context
    config = Experiment(
        config="",
        run=str(folder),
        model=ModelSettings(dtype=case.dtype),
        text=TextSettings(context=case.context),
        harvest=HarvestSettings(
            sequences_per_batch=batch, storage_dtype="float16" if case.dtype == "float32" else "bfloat16"
        ),
    )
    tokens = write_random_tokens(folder, config, SHARDS * tokens_per_shard // case.context)
    names = resolve_hooks(case.patterns, model.hooks, model.refused)
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

    with forward_passes(model, names, batch if case.compiled else None) as passes:
        source = ModelSource(config, tokens, model, passes, width)
        alone, harvested = ratio_of(forward, harvest, repeats)
    count = SHARDS * tokens_per_shard
    return Row(case.name, count / harvested, count / alone, "tokens/s", TARGET)


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__, repeats=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds this")
    arguments = parser.parse_args(argv)
    cases = make_cases(QUICK_LAYERS, (128,)) if arguments.quick else make_cases(12, (128, 1024))
    cases = [case for case in cases if arguments.only in case.name]
    if lacks_bfloat16() and not torch.cuda.is_available():
        print(
            "Rows in bfloat16 stay open: this CPU has no instructions for it. "
            "Where lscpu lists avx512_bf16 or amx_bf16, python -m bench.harvest --only bfloat16 measures them."
        )
        cases = [case for case in cases if case.dtype != "bfloat16"]
    tokens_per_shard = 2048 if arguments.quick else 8192
    rows = []
    dtypes: list[DType] = [dtype for dtype in DTYPES if any(case.dtype == dtype for case in cases)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder / "model", arguments.quick)
        for dtype in dtypes:
            model = open_model(ModelSettings(name=str(folder / "model"), dtype=dtype))
            for case in [case for case in cases if case.dtype == dtype]:
                rows.append(measure(model, case, tokens_per_shard, folder, repeats_of(arguments)))
    publish_rows("harvest", "forward pass alone", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
