"""A run writes and computes what `python -m plan` estimates, and the estimate's comments and refusals are right."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from data.tokens import make_tokens
from harvest.device_accumulator import CountedRows
from harvest.host_buffers import Batch, HostBuffers
from harvest.stage import harvest
from plan.dictionaries import Size, asked_sizes, size_of
from plan.duration import stack_seconds, step_flops
from plan.estimate import estimate
from plan.machine import H100
from plan.model_shape import ModelShape, count_flops, model_shape
from plan.space import BESIDE, HEADER, pinned_bytes, train_memory
from plan.table import duration, in_short, print_plan, size
from tests.experiments import ROOT, load, write_config
from train.architectures import StepContext, architecture_of
from train.compute_dtype import resolved
from train.device_windows import PIECE_BYTES
from train.learner import Learner
from train.plan import plan_dictionaries
from train.settings import DictionarySettings
from winnow.config.experiment import ModelSettings, TrainSettings
from winnow.dictionary import save_dictionary
from winnow.errors import UserError
from winnow.model.language_model import open_model

TOPK = {"architecture": "topk", "n_latents": [48, 96], "k": 4, "seed": [0, 1]}
KINDS: list[dict[str, Any]] = [
    {"architecture": "topk", "k": 4},
    {"architecture": "batchtopk", "k": 4},
    {"architecture": "matryoshka", "k": 4},
    {"architecture": "relu", "l1_coefficient": 1.0},
    {"architecture": "relu", "l1_coefficient": 1.0, "tied": True},
    {"architecture": "gated", "l1_coefficient": 1.0},
    {"architecture": "jumprelu", "l0_coefficient": 1.0},
]


def save_configuration(folder: Path, gpt2: Path) -> Path:
    """Copy the only file of a model that `plan` may read."""
    folder.mkdir()
    (folder / "config.json").write_bytes((gpt2 / "config.json").read_bytes())
    return folder


@pytest.mark.parametrize("positions", [{"skip_first": 1}, {"evenly": 3}])
def test_a_harvest_writes_the_bytes_that_were_planned(tmp_path: Path, gpt2: Path, positions: dict[str, int]):
    keys = {"positions": positions, "rows_per_shard": 100, "storage_dtype": "float16"}
    path = write_config(tmp_path, save_configuration(tmp_path / "model", gpt2), harvest=keys)
    planned = estimate(load(path))
    config = load(path, "--model.name", str(gpt2))
    make_tokens(config)
    harvest(config)
    run = tmp_path / "run"
    written = sum(shard.stat().st_size for shard in run.glob("activations/shard-*.h5"))
    assert planned.disk.shards == written
    assert planned.disk.statistics == (run / "activations" / "statistics.h5").stat().st_size
    assert planned.disk.tokens == pytest.approx((run / "tokens.h5").stat().st_size, abs=8192)  # attributes besides
    assert planned.plan.shards == len(list(run.glob("activations/shard-*.h5"))) > 1
    assert estimate(config)._replace(free=0, config=config) == planned._replace(
        free=0, config=config, disk=planned.disk
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_a_dictionary_and_its_checkpoint_have_the_planned_bytes(tmp_path: Path, gpt2: Path, kind: dict[str, Any]):
    sized, learner = one_dictionary(tmp_path, gpt2, kind)
    for copies, tensors in ((1, learner.state()[0]), (0, learner.parameters)):
        found = sum(tensor.nbytes for tensor in tensors.values())
        if copies:
            assert sized.state == found + 4 * sized.matrix  # a copy of directions, taken at half the rows
    save_dictionary(learner.dictionary(1.0), tmp_path / "saved", {}, {})
    found = (tmp_path / "saved" / "sae_weights.safetensors").stat().st_size
    assert 4 * sized.saved < found < 4 * sized.saved + HEADER < 4 * sized.saved + HEADER + BESIDE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_a_step_takes_the_planned_products(tmp_path: Path, gpt2: Path, kind: dict[str, Any]):
    sized, learner = one_dictionary(tmp_path, gpt2, kind)
    rule = architecture_of(learner.planned.settings)
    parameters = {name: value.unsqueeze(0) for name, value in learner.parameters.items()}
    x = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        rule.step(parameters, x, StepContext(1.0, torch.zeros(1, 96, dtype=torch.bool)))
    # the sums over active latents are no products, but for the values' gradient, which is one in CSR form
    assert counter.get_total_flops() == step_flops(sized, len(x))


def one_dictionary(folder: Path, model: Path, kind: dict[str, Any]) -> tuple[Size, Learner]:
    """Return the size of one dictionary of 96 latents in 32 dimensions, and the dictionary."""
    config = load(write_config(folder, model, train={"rows": 100, "dictionaries": [{"n_latents": 96, **kind}]}))
    (sized,) = asked_sizes(config, {"hook": 32}, on_gpu=False)
    (planned,) = resolved(plan_dictionaries(config, {"hooks": {"hook": 32}}, folder), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    W = torch.nn.functional.normalize(torch.randn(96, 32, generator=generator), dim=1)
    start = {"W_enc": W.clone(), "b_enc": torch.zeros(96), "W_dec": W, "b_dec": torch.zeros(32)}
    return sized, Learner(planned, start, torch.device("cpu"), 10)


def test_hooks_widths_and_operations_are_those_of_the_real_model(tmp_path: Path, gpt2: Path):
    patterns = ["blocks.*.hook_resid_pre", "blocks.1.mlp.hook_post", "blocks.0.attn.hook_z"]
    shape = model_shape(ModelSettings(name=str(save_configuration(tmp_path / "model", gpt2))), patterns, 16)
    real = open_model(ModelSettings(name=str(gpt2), device="cpu"))
    seen = real.activations(torch.zeros(1, 16, dtype=torch.int64), list(shape.hooks))
    assert {name: value.shape[-1] for name, value in seen.items()} == shape.hooks
    assert shape.flops_per_token == count_flops(real, list(shape.hooks), 16) / 16
    assert shape.parameters == sum(p.numel() for p in real.plain.parameters())
    assert shape.widest == 128


def test_the_operations_of_a_pass_end_at_the_last_hook(tmp_path: Path, gpt2: Path):
    d, context = 32, 16
    block = 2 * 12 * d * d + 4 * context * d  # of a token: the products of a layer, and attention to every position
    shape = model_shape(ModelSettings(name=str(gpt2)), ["blocks.2.hook_resid_pre"], context)
    assert shape.flops_per_token == 2 * block
    into_third = model_shape(ModelSettings(name=str(gpt2)), ["blocks.2.mlp.hook_post"], context).flops_per_token
    assert into_third == 2 * block + 2 * 8 * d * d + 4 * context * d


def test_rows_until_converged_count_as_the_ceiling(tmp_path: Path, gpt2: Path, capsys: pytest.CaptureFixture[str]):
    config = load(
        write_config(tmp_path, gpt2, train={"rows": "converged", "max_rows": 5_000_000, "dictionaries": [TOPK]})
    )
    fixed = load(write_config(tmp_path, gpt2, train={"rows": 5_000_000, "dictionaries": [TOPK]}))
    assert estimate(config).train_seconds == estimate(fixed).train_seconds
    print_plan(config)
    said = capsys.readouterr().out
    assert "5,000,000 rows each at most" in said
    assert "at most to train" in said


def test_time_grows_with_latents_and_falls_with_the_machine():
    train = TrainSettings(batch_rows=4096)
    relu = [DictionarySettings(architecture="relu", n_latents=n, l1_coefficient=1.0) for n in (6144, 24576)]
    grid = [size_of("hook", 768, settings) for settings in relu]
    small, large = (stack_seconds(train, one, 1, H100) for one in grid)
    assert 3 < large / small < 4  # the part of Python stays
    assert stack_seconds(train, grid[1], 1, H100._replace(share=1.0)) < large
    halves = size_of("hook", 768, dataclasses.replace(relu[1], compute_dtype="bfloat16"))
    assert stack_seconds(train, halves, 1, H100) < large / 3
    tf32 = size_of("hook", 768, dataclasses.replace(relu[1], compute_dtype="tf32"))
    assert stack_seconds(train, halves, 1, H100) < stack_seconds(train, tf32, 1, H100) < large / 2


def test_a_gpu_holds_the_windows_if_it_has_room_for_them():
    train = TrainSettings(window_mib=512)
    grid = [size_of("hook", 768, DictionarySettings(architecture="topk", n_latents=6144, k=32))]
    rows, row_bytes, windows = 10**9, 1536, 2 * 512 * 2**20
    cpu, gpu = (train_memory(train, grid, rows, row_bytes, m) for m in (H100._replace(on_gpu=False), H100))
    small = train_memory(train, grid, rows, row_bytes, H100._replace(gpu_memory=gpu.gpu - 1))
    assert gpu.gpu - small.gpu == pytest.approx(windows, rel=0.01)
    assert small.host - gpu.host == pytest.approx(windows - 2 * PIECE_BYTES, rel=0.01)  # pieces on their way
    assert cpu.gpu == 0
    one = train_memory(train, grid, 1000, row_bytes, H100)  # a store that one window holds
    assert gpu.gpu - one.gpu == pytest.approx(windows, rel=0.01)


@pytest.mark.slow
def test_nothing_is_written_and_no_weights_are_read(tmp_path: Path, gpt2: Path):
    model = save_configuration(tmp_path / "model", gpt2)
    config = write_config(tmp_path, model, train={"dictionaries": [TOPK]})
    before = sorted(tmp_path.rglob("*"))
    done = plan(config)
    assert (done.returncode, done.stderr) == (0, "")
    for said in ("blocks.1.mlp.hook_post", "128  values in a row", "in short", "are free at", "TFLOP/s"):
        assert said in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mistake_is_one_line(tmp_path: Path, gpt2: Path):
    model = save_configuration(tmp_path / "model", gpt2)
    for section, keys, said in [
        ("harvest", {"hooks": ["blocks.9.hook_resid_pre"]}, r"no hook blocks.9.hook_resid_pre"),
        ("text", {"context": 128, "tokens": 1280}, "reads 64 tokens at most"),
        ("train", {"dictionaries": [TOPK | {"hooks": ["blocks.2.*"]}]}, r"no hook blocks.2.\* among those"),
        ("text", {"held_out_sequences": 40}, "are held out"),
    ]:
        with pytest.raises(UserError, match=said):
            estimate(load(write_config(tmp_path, model, **{section: keys})))
    with pytest.raises(UserError, match=r"no such folder, and .*hub at revision main"):
        estimate(load(write_config(tmp_path, Path("nobody/nothing"))))


def test_toy_data_are_planned_too(tmp_path: Path):
    path = tmp_path / "toy.toml"
    path.write_text(
        f'run = "{tmp_path}/run"\n[toy]\nrows = 4000\nd_model = 16\nn_features = 32\n'
        '[harvest]\nrows_per_shard = 1500\n[[train.dictionaries]]\narchitecture = "topk"\nn_latents = 32\nk = 4\n'
    )
    planned = estimate(load(path))
    harvest(load(path))
    written = sum(shard.stat().st_size for shard in (tmp_path / "run" / "activations").glob("shard-*.h5"))
    assert planned.disk.shards == written
    assert (planned.shape.hooks, planned.rows, planned.disk.tokens) == ({"toy": 16}, 4000, 0)


def test_numbers_are_said_in_units_that_people_use():
    assert [size(n) for n in (512, 61_000_000, 1.8e12)] == ["512 bytes", "61 MB", "1.8 TB"]
    assert [duration(s) for s in (0.2, 61.0, 3660.0, 90_000.0)] == ["1 s", "1 min", "1 h 1 min", "25 h"]


def plan(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plan", "--config", str(config), *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/gpt2-small*.toml")), ids=lambda path: path.stem)
def test_the_comments_of_the_configurations_say_what_is_planned(path: Path, tmp_path: Path):
    transformers.GPT2Config(architectures=["GPT2LMHeadModel"]).save_pretrained(tmp_path)
    said = in_short(estimate(load(path, "--model.name", str(tmp_path), "--run", str(tmp_path / "run"))))
    comments = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    assert [line for line in comments if line.partition(":")[0] in ("disk", "time", "memory")] == said


def test_pinned_memory_is_what_a_batch_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    block, rows, widths = 2**12, 300, {"a": 40, "b": 7}
    monkeypatch.setattr("plan.space.BLOCK_BYTES", block)
    config = load(write_config(tmp_path, Path("none"), harvest={"storage_dtype": "bfloat16"}))
    shape = ModelShape(hooks=widths, flops_per_token=1, parameters=1, widest=40)
    buffers = HostBuffers(pinned=False, block_bytes=block)
    Batch(buffers, None).start(
        {
            hook: CountedRows(
                torch.zeros(rows, width, dtype=torch.bfloat16), torch.zeros(rows), torch.tensor(-1), torch.zeros(width)
            )
            for hook, width in widths.items()
        }
    )
    planned = pinned_bytes(config, shape, rows)
    assert planned - block <= buffers.made * block <= planned
