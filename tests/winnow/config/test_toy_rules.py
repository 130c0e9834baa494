"""The table [toy]: what it refuses beside itself, and by which name."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.experiments import ROOT, load
from winnow.errors import UserError
from winnow.runtime.run import write_resolved


def write(folder: Path, **sections: Any) -> Path:
    path = folder / "toy.toml"
    path.write_text(tomli_w.dumps({"run": str(folder / "run"), "toy": {"rows": 100}, **sections}))
    return path


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"model": {"name": "gpt2"}}, "model.name has no meaning beside [toy]"),
        ({"text": {"context": 64}}, "text.context has no meaning beside [toy]"),
        ({"harvest": {"hooks": ["toy"]}}, "harvest.hooks has no meaning beside [toy]"),
        ({"analyze": {"features": ["all"]}}, "analyze.features = all: feature pages show the text"),
        (
            {
                "train": {
                    "dictionaries": [{"architecture": "topk", "n_latents": 8, "k": 2, "initialisation": "singular"}]
                }
            },
            "train.dictionaries.0.initialisation = singular reads the weights of a model",
        ),
        ({"toy": {"feature": 3}}, "toy.feature: unknown key; did you mean n_features"),
        ({"toy": {"decay": 1.5}}, "toy.decay: Input should be less than or equal to 1, found 1.5"),
        ({"toy": {"active": 100.0}}, "toy: active = 100: with decay 0.99 (geometric) at most 49.7 of 512 features"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sections: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        load(write(tmp_path, **sections))
    assert said in str(refused.value)


def test_a_resolved_configuration_opens_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    config = load(write(tmp_path, model={"device": "cpu"}, harvest={"storage_dtype": "float32"}))
    again = load(write_resolved(config).path / "config.toml")
    assert again.model_dump(exclude={"config"}) == config.model_dump(exclude={"config"})


def test_the_command_line_overrides_single_assumptions(tmp_path: Path) -> None:
    config = load(write(tmp_path), "--toy.directions", "antipodal", "--toy.antipodal_share", "0.25")
    assert config.toy is not None
    assert (config.toy.rows, config.toy.directions, config.toy.antipodal_share) == (100, "antipodal", 0.25)


def test_settings_are_read_without_torch() -> None:
    loaded = "print(json.dumps(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules))))"
    code = f"import json, sys, winnow.config.experiment; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
