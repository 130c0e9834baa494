import json
from pathlib import Path

import pytest

from tests.experiments import ROOT
from tests.train.experiments import HOOK, load, write_run
from train.stage import train
from winnow.config.experiment import Dictionaries, TrainSettings

TEXT = (ROOT / "docs" / "guide" / "train.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", [*TrainSettings.model_fields, *Dictionaries.model_fields])
def test_every_setting_is_in_the_docs(key: str) -> None:
    assert f"`{key}`" in TEXT or key == "dictionaries"


def test_every_key_of_the_curve_is_in_the_docs(tmp_path: Path) -> None:
    train(load(write_run(tmp_path, [{"architecture": "topk", "n_latents": 48, "k": 3}])))
    (curve,) = (tmp_path / "run" / "dictionaries" / HOOK).glob("*/metrics.jsonl")
    keys = {key for line in curve.read_text().splitlines() for key in json.loads(line)}
    assert "eval_loss" in keys
    assert [key for key in sorted(keys) if f"`{key}`" not in TEXT] == []
