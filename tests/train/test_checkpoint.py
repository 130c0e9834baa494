"""A checkpoint that is not as it was written is refused in one line, and older ones are read all the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from train.checkpoint import checkpoint_rows, read_checkpoint, write_checkpoint
from train.curve import cut_curve
from winnow.errors import UserError

ROWS = 512
NUMBERS: dict[str, Any] = {
    "rows": ROWS,
    "steps": 2,
    "settings": {"architecture": "topk", "n_latents": 4},
    "convergence": {"looks": {"1": [256, 0.5]}, "slope": None, "self_similarity": None, "ends": None},
    "resampled": 0,
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, {"W_dec": torch.ones(4, 3)}, NUMBERS)
    return tmp_path / "checkpoints" / f"rows-{ROWS:013d}"


def refusal(state: Path) -> str:
    with pytest.raises(UserError) as refused:
        read_checkpoint(state.parents[1], ROWS)
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith(f"; delete {state} to resume from an earlier one, or from the start")
    return message


def test_what_is_written_is_read(state: Path) -> None:
    tensors, numbers = read_checkpoint(state.parents[1], ROWS)
    assert (tensors["W_dec"].tolist(), numbers) == ([[1.0] * 3] * 4, NUMBERS)


def test_one_made_before_hashes_were_kept_is_read(state: Path) -> None:
    (state / "hashes.json").unlink()
    assert read_checkpoint(state.parents[1], ROWS)[1] == NUMBERS


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_flipped_byte_is_found(state: Path, name: str) -> None:
    content = bytearray((state / name).read_bytes())
    place = content.index(b"512") + 2 if name == "state.json" else len(content) - 1
    content[place] ^= 1
    (state / name).write_bytes(content)
    assert f"{name}: " in refusal(state)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 511}, "rows: expected 512, found 511"),
        ({"steps": "2"}, 'steps: expected an integer of at least 0, found "2"'),
        ({"settings": []}, r"settings: expected a JSON object, found []"),
        ({"convergence": {"looks": {"x": 1}}}, "convergence.looks.x: expected rows and a loss, found 1"),
        ({"convergence": {"looks": {"1": 1}}}, "convergence.looks.1: expected a list of 2, found 1"),
        ({"convergence": {"looks": {}, "slope": "x"}}, 'convergence.slope: expected a finite number, found "x"'),
        ({"convergence": {"looks": {}, "progress": [1]}}, "convergence.progress: expected a list of 3, found [1]"),
        ({"convergence": {"looks": {}}}, "convergence.slope: expected a number or null"),
    ],
)
def test_a_field_of_the_wrong_shape_is_named(state: Path, change: dict[str, Any], said: str) -> None:
    (state / "hashes.json").unlink()
    (state / "state.json").write_text(json.dumps(NUMBERS | change))
    assert f"state.json: {said}" in refusal(state)


def test_other_folders_are_no_checkpoints(state: Path) -> None:
    for name in ("rows-x", "rows-0000000001024.12.partial", "rows-"):
        (state.parent / name).mkdir()
    assert checkpoint_rows(state.parents[1]) == {ROWS}


def test_a_curve_is_cut_and_a_line_that_is_no_point_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"rows": 1}\n{"rows": 2}\n{"rows": 3}\n{"ro')
    cut_curve(tmp_path, 2)
    assert path.read_text() == '{"rows": 1}\n{"rows": 2}\n'
    path.write_text('{"rows": 1}\n{"rows": null}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: rows: expected an integer of at least 0, found null"):
        cut_curve(tmp_path, 2)
