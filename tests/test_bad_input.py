"""A user's mistakes, typed at the command line: one line each, exit status 2, no traceback."""

from pathlib import Path

import pytest

from data.tokens import make_tokens
from tests.experiments import load, run_stage, write_config

STAGES = ("data", "harvest", "train", "analyze")


def assert_refused(stage: str, config: Path | str, *arguments: str, said: str) -> None:
    done = run_stage(stage, Path(config), *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{stage}: ")
    assert said in lines[0]


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_path(stage: str):
    assert_refused(
        stage,
        "configs/dem.toml",
        said="configs/dem.toml: no such configuration file; there are configs/demo.toml, ",
    )


@pytest.mark.parametrize("stage", STAGES)
def test_an_unknown_key(stage: str, tmp_path: Path, gpt2: Path):
    config = write_config(tmp_path, gpt2, train={"batch_row": 5})
    assert_refused(stage, config, said="train.batch_row: unknown key; did you mean batch_rows?")


def test_an_unknown_hook(tmp_path: Path, gpt2: Path):
    config = write_config(tmp_path, gpt2, harvest={"hooks": ["blocks.1.hook_residpost"]})
    make_tokens(load(config))
    assert_refused(
        "harvest",
        config,
        said="harvest.hooks: no hook blocks.1.hook_residpost; did you mean blocks.1.hook_resid_post",
    )


def test_a_missing_model(tmp_path: Path):
    config = write_config(tmp_path, Path("nobody/nothing"))
    assert_refused("data", config, said="model.name = nobody/nothing: no tokenizer found (HF_HUB_OFFLINE is set")


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("harvest", "tokens.h5: no such file; run make tokens first"),
        ("train", "manifest.json"),
        ("analyze", "tokens.h5: no such file; run make tokens first"),
    ],
)
def test_a_stage_whose_input_is_not_made_yet(stage: str, said: str, tmp_path: Path, gpt2: Path):
    assert_refused(stage, write_config(tmp_path, gpt2), said=said)


def test_a_run_in_use(tmp_path: Path, gpt2: Path):
    from winnow.runtime.lock import run_lock

    config = write_config(tmp_path, gpt2)
    with run_lock(tmp_path / "run"):
        assert_refused("data", config, said=f"{tmp_path / 'run'} is in use by process ")
