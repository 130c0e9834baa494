"""`~` expands in every path that a user writes; what a terminal would obey is shown as its escape."""

from pathlib import Path

import pytest
import torch

import winnow
from analyze.evaluation.text import HeldOutText
from data.files import find_files
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from winnow.config.command_line import load_experiment
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError
from winnow.paths import escape, expand


def test_a_home_that_exists_is_expanded_and_all_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for written, expected in (
        ("~", "/home/me"),
        ("~/runs/é", "/home/me/runs/é"),
        ("a/~/b", "a/~/b"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a"),
        ("openai-community/gpt2", "openai-community/gpt2"),
    ):
        assert expand(written) == Path(expected)


def test_every_path_of_an_experiment_expands(tmp_path: Path, gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "gpt2").symlink_to(gpt2)
    path = write_config(tmp_path, Path("~/gpt2"), text={"source": "files:~/text/*.txt"})
    config = load(Path("~") / path.name, "--run", "~/run")
    assert (config.config, config.run, config.model.name) == (
        f"~/{path.name}",
        str(tmp_path / "run"),
        str(tmp_path / "gpt2"),
    )
    assert len(find_files("~/text/*.txt")) == 16
    make_tokens(config)
    harvest(config)
    assert {found.name for found in (tmp_path / "run").iterdir()} >= {"tokens.h5", "activations"}
    store = winnow.ActivationStore("~/run/activations")
    assert store.rows == 36 * 16
    assert HeldOutText.open("~/run").sequences == 4
    weights = (torch.ones(32, 8), torch.zeros(8), torch.ones(8, 32), torch.zeros(32))
    folder = "~/run/dictionaries/blocks.1.hook_resid_post/relu-8"
    save_dictionary(Dictionary(*weights, architecture="relu", hook="h"), folder, {}, {})
    assert winnow.load_dictionary(folder).n_latents == 8
    assert len(winnow.load_dictionaries("~/run")) == 1
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run/é→", "run/é→"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\r\x00", "a\\nb\\r\\x00"),
        ("a\u2028\x85", "a\\u2028\\x85"),
        ("a\udcff", "a\\udcff"),
        ("می\u200cخواهم\u3000", "می\u200cخواهم\u3000"),  # what people write is kept
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize("key", ["run", "model.name"])
@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "a\x7f", "a\u2028b", "a\udcffb"])
def test_control_characters_in_a_name_are_refused(key: str, name: str, tmp_path: Path, gpt2: Path) -> None:
    path = write_config(tmp_path, gpt2)
    with pytest.raises(UserError, match=rf"experiment\.toml: {key}: ") as refused:
        load_experiment("test", ["--config", str(path), f"--{key}={name}"])
    assert escape(str(refused.value)) == str(refused.value)
