"""`make verify`: every shard and dictionary of a run is hashed again."""

from pathlib import Path

import pytest
import torch

from tests.experiments import load, write_config
from tests.winnow.test_store import make_store
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError
from winnow.verify import verify


@pytest.fixture
def config(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    make_store(run / "activations")
    torch.manual_seed(0)
    dictionary = Dictionary(torch.randn(5, 8), torch.zeros(8), torch.randn(8, 5), torch.zeros(5), hook="h")
    save_dictionary(dictionary, run / "dictionaries" / "h" / "relu-8", {}, {})
    return write_config(tmp_path, tmp_path)


def test_a_whole_run_is_said_to_be_whole(config: Path, capsys: pytest.CaptureFixture[str]):
    verify(load(config))
    assert capsys.readouterr().out.endswith("28 rows of 2 hooks and 1 dictionaries are whole\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("activations/shard-00001.h5", r"shard-00001\.h5: sha256 is .*; python -m harvest --repair"),
        ("dictionaries/h/relu-8/sae_weights.safetensors", r"sae_weights\.safetensors: sha256 is .*, and train again"),
    ],
)
def test_one_flipped_bit_is_found_and_named(config: Path, tmp_path: Path, name: str, message: str):
    path = tmp_path / "run" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        verify(load(config))
