"""Miniature trainings on planted features, in this process or as a user starts them."""

from pathlib import Path
from typing import Any

import tomli_w

from tests.stores import planted, write_store
from winnow.config.command_line import load_experiment
from winnow.config.experiment import Experiment

HOOK = "blocks.0.hook_resid_post"
# one of each architecture; the number of latents is the test's
KINDS: list[dict[str, Any]] = [
    {"architecture": "relu", "l1_coefficient": 0.5},
    {"architecture": "gated", "l1_coefficient": 0.5},
    {"architecture": "jumprelu", "l0_coefficient": 0.1},
    {"architecture": "topk", "k": 3},
    {"architecture": "batchtopk", "k": 3},
    {"architecture": "matryoshka", "k": 3},
]


def write_run(folder: Path, dictionaries: list[dict[str, Any]], hooks: tuple[str, ...] = (HOOK,), **train: Any) -> Path:
    """Write a store of 3000 rows of 40 planted features in 16 dimensions, and a configuration that trains on it."""
    if not (folder / "run" / "activations").exists():
        x, _ = planted(3000, 16, 40, 3)
        write_store(folder / "run" / "activations", dict.fromkeys(hooks, x))
    config = {
        "run": str(folder / "run"),
        "model": {"device": "cpu"},
        "train": {"rows": 6000, "batch_rows": 250, "checkpoint_rows": 1000, "loggers": [], **train}
        | {"dictionaries": dictionaries},
    }
    path = folder / "experiment.toml"
    path.write_text(tomli_w.dumps(config))
    return path


def load(path: Path, *arguments: str) -> Experiment:
    return load_experiment("python -m train", ["--config", str(path), *arguments])


def weights(run: Path) -> dict[str, bytes]:
    """Read the weight files of every finished dictionary, by name."""
    found = sorted(run.glob("dictionaries/*/*/cfg.json"))
    return {
        f"{p.parent.parent.name}/{p.parent.name}": (p.parent / "sae_weights.safetensors").read_bytes() for p in found
    }
