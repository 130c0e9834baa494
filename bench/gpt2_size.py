"""Run the experiments on GPT-2 small with a model of its size, and compare what they take with `python -m plan`.

    make gpt2-size                             # or: python -m bench.gpt2_size [NAME] [--keep FOLDER] [--quick]

124 M random weights, the real tokenizer, a few thousand tokens, a few steps of training. It needs no network, but the
tokenizer in ../shared/gpt2-tokenizer and text in ../shared/text; if they are missing, it says so and ends.
`--quick` needs neither: the first experiment on a narrow model with the embedded tokenizer, over this project's docs.
"""

import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
import torch
from rich.console import Console
from rich.table import Table
from transformers import GPT2Config, GPT2LMHeadModel

from bench.command_line import bench_parser
from plan.estimate import estimate
from plan.table import duration, size
from winnow.config.command_line import load_experiment
from winnow.paths import expand

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
STAGES = ("data", "harvest", "train", "analyze")
FEW = {
    "text": {"column": "text", "tokens": 8192, "held_out_sequences": 16},
    "harvest": {"rows_per_shard": 4096},
    "train": {"rows": 4096, "batch_rows": 512},
}
# at every hook, smaller dictionaries: 48 of up to 24,576 latents are 11 GB, and hours of two cores
SMALLER = {"gpt2-small": 1, "gpt2-small-all-layers": 64}
NARROW = {"n_embd": 64, "n_head": 2, "vocab_size": 4096}  # --quick: as many layers, so that every hook is there


class Took(NamedTuple):
    seconds: float
    peak: int  # bytes resident


class Inputs(NamedTuple):
    """What the experiments run on."""

    model: dict[str, Any]  # what differs from GPT-2 small
    tokenizer: Path  # a folder
    text: str
    divide: int  # divide n_latents by this at least
    hooks: int | None  # take this many hooks; None for all
    sizes: int | None  # take this many n_latents of each grid; None for all


FULL = Inputs({}, SHARED / "gpt2-tokenizer", f"{SHARED}/text/*.txt", 1, None, None)


def quick_inputs(folder: Path) -> Inputs:
    """Take a narrow model, the embedded tokenizer and this project's docs as text."""
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    (folder / "docs.txt").write_text("\n".join(pages), encoding="utf-8")
    return Inputs(NARROW, ROOT / "data" / "tiny_gpt2", f"{folder}/docs.txt", 16, 1, 2)


def save_model(folder: Path, inputs: Inputs) -> None:
    """Save a model with random weights, and the tokenizer."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**inputs.model)).save_pretrained(folder)
    for file in inputs.tokenizer.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copy(file, folder)


def few(name: str, model: Path, folder: Path, inputs: Inputs) -> Path:
    """Write the configuration with few tokens and rows, the rest unchanged."""
    config: dict[str, Any] = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8"))
    for section, keys in FEW.items():
        config[section] |= keys
    config |= {"run": str(folder / name), "model": {"name": str(model), "device": "cpu"}}
    config["text"]["source"] = f"files:{inputs.text}"
    config["harvest"]["hooks"] = config["harvest"]["hooks"][: inputs.hooks]
    for grid in config["train"]["dictionaries"]:
        grid["n_latents"] = [n // max(SMALLER[name], inputs.divide) for n in grid["n_latents"][: inputs.sizes]]
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(config), encoding="utf-8")
    return path


def run(stage: str, config: Path) -> Took:
    """Run a stage as a user does; exit if it fails."""
    started = time.perf_counter()
    arguments = [sys.executable, "-m", stage, "--config", str(config)]
    process = os.posix_spawn(sys.executable, arguments, os.environ)
    _, status, used = os.wait4(process, 0)
    if status:
        sys.exit(f"{stage} ended with status {os.waitstatus_to_exitcode(status)}")
    return Took(time.perf_counter() - started, used.ru_maxrss * 1024)


def measure(name: str, model: Path, folder: Path, inputs: Inputs) -> Table:
    """Run the stages of an experiment, and compare."""
    config = few(name, model, folder, inputs)
    planned = estimate(load_experiment("bench", ["--config", str(config)]))
    took = {stage: run(stage, config) for stage in STAGES}
    training = max(hook.memory.host for hook in planned.training)
    seconds = {"harvest": planned.harvest_time.total, "train": planned.train_seconds}
    memory = {"harvest": planned.harvest_memory.host, "train": training}
    table = Table(title=name + " (quick)" * (inputs is not FULL))
    for column in ("stage", "took", "planned", "peak memory", "planned"):
        table.add_column(column)
    for stage, (second, peak) in took.items():
        known = stage in seconds
        said = (duration(seconds[stage]), size(memory[stage])) if known else ("", "")
        table.add_row(stage, duration(second), said[0], size(peak), said[1])
    for part, wanted in (("activations/shard-*.h5", planned.disk.shards), ("dictionaries", planned.disk.dictionaries)):
        files = [path for found in (folder / name).glob(part) for path in (found, *found.rglob("*")) if path.is_file()]
        table.add_row(part, size(sum(path.stat().st_size for path in files)), size(wanted), "", "")
    return table


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument(
        "name", nargs="?", choices=list(SMALLER), help="one of them; by default both, or the first with --quick"
    )
    parser.add_argument("--keep", type=expand, metavar="FOLDER", help="keep the model and the runs there")
    arguments = parser.parse_args(argv)
    if not arguments.quick and not FULL.tokenizer.is_dir():
        print(f"gpt2-size: skipped, there is no {FULL.tokenizer} with GPT-2's vocab.json and merges.txt")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        inputs = quick_inputs(folder) if arguments.quick else FULL
        model = folder / "model"
        if not (model / "model.safetensors").exists():
            save_model(model, inputs)
        for name in [arguments.name] if arguments.name else list(SMALLER)[: 1 if arguments.quick else None]:
            Console().print(measure(name, model, folder, inputs))


if __name__ == "__main__":
    main()
