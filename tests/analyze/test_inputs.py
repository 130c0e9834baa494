"""The identity of a dictionary: what it is, and not when, where and how fast it was trained."""

import json
from pathlib import Path

import pytest
import torch

from winnow.dictionary import Dictionary, save_dictionary
from winnow.dictionary_files import identity
from winnow.errors import UserError
from winnow.runtime.hashes import note

RECORD = {"settings": {"seed": 0}, "finished": "today", "device": "cpu", "activations": {"path": "runs/a", "rows": 9}}
POINT = {"rows": 100, "loss": 0.5, "rows_per_second": 10.0}


def saved(folder: Path, record: dict = RECORD, point: dict = POINT, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(shape, generator=generator) for shape in ((4, 8), (8,), (8, 4), (4,))]
    save_dictionary(Dictionary(*weights, hook="h"), folder, {}, record)
    (folder / "metrics.jsonl").write_text(json.dumps(point) + "\n")
    return folder


def test_two_trainings_that_are_equal_to_the_bit_have_one_identity(tmp_path: Path) -> None:
    elsewhere = RECORD | {"finished": "tomorrow", "device": "cuda:1", "activations": {"path": "runs/b", "rows": 9}}
    first = saved(tmp_path / "a")
    second = saved(tmp_path / "b", elsewhere, POINT | {"rows_per_second": 20.0})
    assert identity(first) == identity(second)


@pytest.mark.parametrize(
    "other",
    [
        {"record": RECORD | {"settings": {"seed": 1}}},
        {"record": RECORD | {"activations": {"path": "runs/a", "rows": 8}}},
        {"point": POINT | {"loss": 0.4}},
        {"seed": 1},
    ],
)
def test_others_have_others(tmp_path: Path, other: dict) -> None:
    assert identity(saved(tmp_path / "a")) != identity(saved(tmp_path / "b", **other))


def test_weights_of_the_same_size_count(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    before = identity(folder)
    path = folder / "sae_weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert identity(folder) != before


@pytest.mark.parametrize("name", ["cfg.json", "training.json", "metrics.jsonl", "sae_weights.safetensors"])
def test_a_file_that_is_not_what_was_noted_is_refused(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path / "a")
    record = {path.name: note(path) for path in folder.iterdir()}
    assert identity(folder, record) == identity(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(UserError, match=rf"{name}: sha256 is .*; restore it, or delete {folder}, and train again"):
        identity(folder, record)
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: missing, hashes.json lists it"):
        identity(folder, record)


@pytest.mark.parametrize("line", ["null", "[1]", '{"rows": "x"}', '{"rows": [1]}', "{"])
def test_a_curve_of_another_shape_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    folder = saved(tmp_path / "a")
    (folder / "metrics.jsonl").write_text(json.dumps(POINT) + "\n" + line + "\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: "):
        identity(folder)
