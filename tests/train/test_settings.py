"""The settings of a dictionary as they stand in files, today's and older ones."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import ROOT
from train.plan import Planned, refuse_other
from train.settings import DictionarySettings
from winnow.errors import UserError

RUN = ROOT / "tests" / "made_before" / "run"
RECORDS = [*RUN.glob("dictionaries/*/*/training.json"), *RUN.glob("dictionaries/*/*/checkpoints/*/state.json")]
TIED = DictionarySettings(architecture="relu", n_latents=8, l1_coefficient=0.5, tied=True, rows="converged", max_rows=9)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_made_before_is_read_under_todays_names(path: Path) -> None:
    recorded = json.loads(path.read_text())["settings"]
    read = DictionarySettings.from_json(recorded).to_json()
    assert read.pop("encoder_start") == "transpose"  # there was no other
    assert read.pop("gradient_norm") == 0
    assert list(read) == [name.replace(" ", "_") for name in recorded]
    assert list(read.values()) == list(recorded.values())


def test_what_is_written_is_read_again() -> None:
    assert DictionarySettings.from_json(json.loads(json.dumps(TIED.to_json()))) == TIED


def test_what_is_off_is_not_written() -> None:
    written = dataclasses.replace(TIED, tied=False, rows=9, max_rows=None).to_json()
    assert not {"tied", "l1_reduction", "max_rows", "k", "bandwidth"} & written.keys()
    assert all(name.isidentifier() for name in written)


def test_a_record_without_a_later_setting_stands_for_what_was_so_then() -> None:
    recorded = {name: value for name, value in TIED.to_json().items() if name != "scale_activations"}
    refuse_other(Planned("hook", Path("d"), TIED), recorded | {"of a later version": 1})
    with pytest.raises(UserError, match="was made with scale_activations = True, now scale_activations = False"):
        refuse_other(Planned("hook", Path("d"), dataclasses.replace(TIED, scale_activations=False)), recorded)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": "x"}, "settings.k: Input should be a valid integer, found 'x'"),
        ({"held_out_rows": []}, r"settings.held_out_rows: .*, found \[\]"),
        ({"tied": 1}, "settings.tied: Input should be a valid boolean, found 1"),
        ({"architecture": None}, "settings.architecture: .*, found None"),
    ],
)
def test_a_setting_of_another_type_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        DictionarySettings.from_json(TIED.to_json() | change)
    with pytest.raises(UserError, match=r"^settings.n_latents: Field required, found no such setting$"):
        DictionarySettings.from_json({"architecture": "topk"})
