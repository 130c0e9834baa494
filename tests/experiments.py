"""Miniature experiments: a configuration file, and a stage run on it as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tomli_w

from winnow.config.command_line import load_experiment
from winnow.config.experiment import Experiment

ROOT = Path(__file__).parents[1]


def write_config(folder: Path, model: Path, **sections: dict[str, Any]) -> Path:
    """Write a configuration for a miniature run in `folder`; `sections` override single keys."""
    config: dict[str, Any] = {
        "run": str(folder / "run"),
        "model": {"name": str(model)},
        "text": {"source": f"files:{folder}/text/*.txt", "context": 16, "tokens": 640, "held_out_sequences": 4},
        "harvest": {
            "hooks": ["blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"],
            "storage_dtype": "float32",
            "sequences_per_batch": 4,
            "rows_per_shard": 160,
        },
    }
    for section, keys in sections.items():
        config.setdefault(section, {}).update(keys)
    write_text(folder / "text")
    path = folder / "experiment.toml"
    path.write_text(tomli_w.dumps(config))
    return path


def write_text(folder: Path) -> None:
    """Write a few files of text, 7 kB in all."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(16):
        words = [f"{name} {number} of row {row}." for row in range(8) for name in ("shape", "array", "tensor")]
        (folder / f"{number:02d}.txt").write_text(" ".join(words))


def load(path: Path, *arguments: str) -> Experiment:
    return load_experiment("test", ["--config", str(path), *arguments])


def run_stage(stage: str, config: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m STAGE --config CONFIG …` in the repository's root, and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", stage, "--config", str(config), *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
