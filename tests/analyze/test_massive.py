"""A GPT-2-like model whose first position is a sink, harvested with it: every stage names it, and leaves it out."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from analyze.stage import measure_run
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.analyze.miniature import HOOK
from tests.experiments import load, write_config
from tests.models import save_model
from train.stage import train

TRAIN: dict[str, Any] = {
    "rows": 2000,
    "batch_rows": 100,
    "loggers": [],
    "dictionaries": [{"hooks": [HOOK], "architecture": "topk", "n_latents": 48, "k": 4}],
}
SINK = 7  # the dimension along which the first position is huge
SEQUENCES = 36  # harvested, of 16 tokens


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model adds 100 to one dimension at the first position; tokens and activations are made."""
    folder = tmp_path_factory.mktemp("sink")
    save_model("gpt2", folder / "model")
    model = GPT2LMHeadModel.from_pretrained(folder / "model")
    with torch.no_grad():
        model.transformer.wpe.weight[0, SINK] += 100
    model.save_pretrained(folder / "model")
    path = write_config(folder, folder / "model", train=TRAIN, analyze={"features": ["none"]})
    make_tokens(load(path))
    harvest(load(path))
    return path


def finished(config: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """Train and analyse a copy of the run; what its report holds."""
    shutil.copytree(config.parent / "run", folder / "run")
    experiment = load(config, "--run", str(folder / "run"), *arguments)
    train(experiment)
    measure_run(experiment)
    return json.loads((folder / "run" / "report" / "metrics.json").read_text())


def of_hook(metrics: dict[str, Any], hook: str = HOOK) -> dict[str, Any]:
    return next(entry for entry in metrics["activations"] if entry["hook"] == hook)


@pytest.mark.usefixtures("bare_page")
def test_sink_is_named_and_left_out(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = finished(config, tmp_path)
    massive = of_hook(metrics)["massive"]
    assert (massive["rows"], massive["all_rows"], massive["left_out"]) == (SEQUENCES, 16 * SEQUENCES, True)
    assert massive["positions"] == [[0, SEQUENCES]]
    assert [dimension for dimension, _ in massive["dimensions"]] == [SINK]
    assert massive["share_of_variance"] > 0.9
    assert len(massive["token_texts"]) == len(massive["tokens"]) == 1  # every sequence starts with BOS
    assert of_hook(metrics)["largest_dimension"]["dimension"] == SINK
    [dictionary] = metrics["dictionaries"]
    assert dictionary["rows_left_out"] == 4  # one in each of the held-out sequences
    assert dictionary["fvu"] < 1
    assert abs(dictionary["fvu"] - dictionary["fvu_all_rows"]) > 0.05
    record = json.loads((tmp_path / "run" / dictionary["path"] / "training.json").read_text())
    assert record["left_out"]["rows"] == SEQUENCES
    said = " ".join(capsys.readouterr().out.split())  # lines are broken at the terminal's width
    first = re.search(r"36 of 576 rows are massive .* position 0 \(36\); token \d+ .* dimension 7", said)
    assert first
    assert first.start() < said.index("Dictionaries")


@pytest.mark.usefixtures("bare_page")
def test_zero_takes_the_sink_in_and_says_so(config: Path, tmp_path: Path) -> None:
    metrics = finished(config, tmp_path, "--massive_norm", "0")
    massive, [dictionary] = of_hook(metrics)["massive"], metrics["dictionaries"]
    assert (massive["rows"], massive["bound"], massive["left_out"]) == (SEQUENCES, 10, False)
    assert dictionary["rows_left_out"] == 0
    assert dictionary["fvu"] == dictionary["fvu_all_rows"]
    assert dictionary["baselines"]["pca"] < 0.1  # the sink is one component


def test_harvest_ends_by_naming_it(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(config.parent / "run" / "tokens.h5", (tmp_path / "tokens.h5"))
    (tmp_path / "run").mkdir()
    shutil.move(tmp_path / "tokens.h5", tmp_path / "run" / "tokens.h5")
    harvest(load(config, "--run", str(tmp_path / "run")))
    said = capsys.readouterr().out
    words = r"36 of 576 rows are massive .* position 0 \(36\); .* Left out by massive_norm = 10\."
    assert re.search(f"{HOOK}: {words}", said)
