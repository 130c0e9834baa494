"""The first stage: turn text into packed token sequences on disk, once.

runs/NAME/tokens.h5    /tokens int32 [sequence, context]
                       attrs: settings (JSON), fingerprint, tokenizer, text, bos; tokenizer_commit, text_commit:
                       commits of their repositories on the hub, "" for local files
"""

import json
from pathlib import Path
from typing import Any

import h5py

from winnow.config.experiment import Experiment
from winnow.errors import refuse_changed
from winnow.runtime.lock import run_lock
from winnow.runtime.run import Run, write_resolved
from winnow.tokens import open_tokens

HELD_OUT = {"held_out_sequences"}  # no token depends on it


def make_tokens(config: Experiment) -> None:
    """Write `tokens.h5` of the run, unless it is there or the run has toy data; print which.

    Raises `UserError` if it was made with other settings.
    """
    if config.toy is not None:
        print(f"{config.run}: toy data have no text; nothing to tokenise")
        return
    path = Run(Path(config.run)).tokens
    with run_lock(path.parent):
        if path.exists():
            with h5py.File(path) as file:
                refuse_changed(path, json.loads(str(file.attrs["settings"])), token_settings(config))
            print(f"{_describe(path)}; nothing to do")
            return
        # imported here, so that a stage with nothing to do does not wait for datasets and transformers
        from data.write_tokens import write_tokens

        write_resolved(config)
        write_tokens(path, config, token_settings(config))
        print(_describe(path))


def token_settings(config: Experiment) -> dict[str, Any]:
    """Collect the settings that the tokens depend on, by their names in the configuration."""
    text = {f"text.{key}": value for key, value in config.text.model_dump(mode="json", exclude=HELD_OUT).items()}
    return {"model.name": config.model.name, "model.revision": config.model.revision, **text}


def _describe(path: Path) -> str:
    tokens = open_tokens(path)
    return f"{path}: {tokens.sequences:,} sequences of {tokens.context} tokens"
