"""A miniature run with a language model, harvested, whose polytopes can be measured; and a subject without a stage."""

from pathlib import Path
from typing import Any

from data.tokens import make_tokens
from harvest.stage import harvest
from polytopes.keys import Keys
from polytopes.measure import open_subject
from polytopes.reading.subject import Subject
from tests.experiments import load, write_config
from winnow.config.polytopes import PolytopesSettings
from winnow.runtime.run import Run
from winnow.shards.manifest import read_manifest
from winnow.tokens import open_tokens

SMALL: dict[str, Any] = {"rows": 60, "positions": {"skip_first": 4, "evenly": 3}, "experiments": ["codes"]}


def harvested(folder: Path, model: Path, **polytopes: Any) -> Path:
    """Write a configuration with `[polytopes]`, small but for what is given, and harvest it; 36 + 4 sequences of 16."""
    path = write_config(folder, model, polytopes={**SMALL, **polytopes})
    make_tokens(load(path))
    harvest(load(path))
    return path


def subject_of(config: Path, *arguments: str) -> Subject:
    """Open a run's subject, its rows made where they are not there."""
    experiment = load(config, *arguments)
    run = Run(Path(experiment.run))
    manifest = read_manifest(run.activations)
    keys = Keys.of(experiment, experiment.polytopes or PolytopesSettings(), manifest)
    return open_subject(experiment, keys, open_tokens(run.tokens), manifest)
