"""The embedded model on its own kind of text, for what only a trained model shows."""

from pathlib import Path

import pytest

from data.tokens import make_tokens
from harvest.stage import harvest
from polytopes.subject import Subject
from tests.experiments import load
from tests.models import EMBEDDED
from tests.polytopes.miniature import subject_of


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """400 rows of the embedded model on docstrings of numpy and torch."""
    folder = tmp_path_factory.mktemp("embedded")
    path = folder / "experiment.toml"
    path.write_text(
        f"""
run = "{folder}/run"
model.name = "{EMBEDDED}"
text = {{ source = "files:{folder}/text.txt", context = 64, tokens = 8_000, held_out_sequences = 40 }}
harvest = {{ hooks = "blocks.0.hook_resid_post" }}
polytopes = {{ rows = 400, positions = {{ skip_first = 10, evenly = 4 }} }}
""",
        encoding="utf-8",
    )
    _write_docstrings(folder / "text.txt")
    make_tokens(load(path))
    harvest(load(path))
    return subject_of(path)


def _write_docstrings(path: Path) -> None:
    import numpy
    import torch

    texts = [
        getattr(owner, name).__doc__
        for owner in (numpy, torch)
        for name in sorted(vars(owner))
        if callable(getattr(owner, name)) and isinstance(getattr(owner, name).__doc__, str)
    ]
    path.write_text("\n\n".join(texts)[:80_000], encoding="utf-8")
