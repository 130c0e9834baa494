"""A slip of some zeros is one line within a second, that names the key and the bound, before anything is allocated."""

import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from tests.train.experiments import HOOK, load, write_run
from train import memory
from train.stage import train
from winnow.config.command_line import load_experiment
from winnow.errors import UserError

TOPK: dict[str, Any] = {"architecture": "topk", "n_latents": 32, "k": 3}


def refusal(folder: Path, text: str, *arguments: str) -> str:
    """Load a configuration; return the line that it is refused with."""
    path = folder / "c.toml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as error:
        load_experiment("python -m train", ["--config", str(path), *arguments])
    assert time.process_time() - began < 1
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [
        ("toy.rows", 10**15, "less than or equal to 10000000000000"),
        ("toy.held_out_rows", 10**15, "less than or equal to 10000000000000"),
        ("toy.n_features", 10**9, "less than or equal to 1048576"),
        ("toy.d_model", 10**9, "less than or equal to 1048576"),
        ("toy.causes", 10**9, "less than or equal to 1048576"),
        ("toy.children", 10**9, "less than or equal to 1048576"),
        ("toy.roots", 10**9, "less than or equal to 1048576"),
        ("toy.depth", 10**9, "less than or equal to 64"),
        ("toy.active", float("inf"), "a finite number"),
        ("toy.seed", 2**63, "less than 9223372036854775808"),
        ("text.context", 10**12, "less than or equal to 134217728"),
        ("text.tokens", 10**15, "less than or equal to 10000000000000"),
        ("harvest.rows_per_shard", 10**12, "less than or equal to 134217728"),
        ("harvest.sequences_per_batch", 10**12, "less than or equal to 134217728"),
        ("train.rows", 10**18, "less than or equal to 10000000000000"),
        ("train.batch_rows", 10**12, "less than or equal to 134217728"),
        ("train.window_mib", 10**12, "less than or equal to 134217728"),
        ("train.warmup", float("nan"), "a finite number"),
        ("massive_norm", float("inf"), "a finite number"),
        ("seed", 10**30, "less than 9223372036854775808"),
    ],
)
def test_a_value_beyond_any_use_is_named_with_its_bound(key: str, value: Any, bound: str, tmp_path: Path) -> None:
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    said = refusal(tmp_path, tomli_w.dumps({"run": str(tmp_path / "run"), **nested}))
    assert f"c.toml: {key}: Input should be {bound}" in said


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [
        ("n_latents", 10**12, "n_latents.0: Input should be less than or equal to 134217728"),
        ("k", 10**12, "k.0: Input should be less than or equal to 134217728"),
        ("seed", 10**30, "seed.0: Input should be less than 9223372036854775808"),
        ("auxk_coefficient", float("inf"), "auxk_coefficient: Input should be a finite number"),
        ("learning_rate", float("inf"), "learning_rate: Input should be a finite number"),
        ("gradient_norm", float("nan"), "gradient_norm: Input should be a finite number"),
    ],
)
def test_the_same_of_a_grid(key: str, value: Any, bound: str, tmp_path: Path) -> None:
    config = {"run": str(tmp_path), "train": {"dictionaries": [TOPK | {key: value}]}}
    assert f"train.dictionaries.0.{bound}" in refusal(tmp_path, tomli_w.dumps(config))


def test_a_grid_of_too_many_dictionaries_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    table = {"n_latents": [16, 32], "k": [2, 3], "architecture": "topk", "seed": list(range(30_000))}
    said = refusal(tmp_path, tomli_w.dumps({"run": "r", "train": {"dictionaries": [table]}}))
    assert "train.dictionaries.0: 120,000 dictionaries at each hook, at most 10,000; seed has the most values" in said


def test_features_in_so_many_dimensions_are_refused_together(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[toy]\nn_features = 1000000\nd_model = 1000000\n")
    assert (
        "toy: n_features = 1,000,000 in d_model = 1,000,000 dimensions is a matrix of more than 2,147,483,648" in said
    )


def test_what_no_parser_takes_is_one_line(tmp_path: Path) -> None:
    assert "a number has thousands of digits" in refusal(tmp_path, "[train]\nrows = " + "9" * 5000)
    assert "nested too deep" in refusal(tmp_path, "x = " + "[" * 100_000)
    assert refusal(tmp_path, "", "--train.rows", "9" * 5000) == "--train.rows: a number has thousands of digits"
    assert refusal(tmp_path, "", "--train.rows", "[" * 99_999) == "--train.rows: a list or table is nested too deep"
    assert refusal(tmp_path, "", f"--text.tokens={'9' * 5000}").endswith("a number has thousands of digits")


def test_a_dictionary_larger_than_the_memory_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_memory", lambda device: 60 * 10**9)
    config = load(write_run(tmp_path, [TOPK | {"n_latents": 2**27}]))
    with pytest.raises(UserError, match=rf"n_latents = 134,217,728 at {HOOK}, of width 16, takes 69 GB .* has 60 GB"):
        train(config)
    assert not list((tmp_path / "run").glob("dictionaries/*/*/*"))
    monkeypatch.undo()
    assert 10**9 < memory._memory(torch.device("cpu")) < 10**14
