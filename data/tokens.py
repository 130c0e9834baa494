"""The first stage: turn text into packed token sequences on disk, once.

runs/NAME/tokens.h5    /tokens int32 [sequence, context]
                       attrs: settings (JSON), fingerprint, tokenizer, text, bos; tokenizer_commit, text_commit:
                       commits of their repositories on the hub, "" for local files; dropped_sequences: with
                       text.drop_shared_ngrams, how many sequences that setting left out; format_version;
                       tokenizer_sha256, documents and text_sha256: what a tokenizer or text that has moved is known by
"""

from pathlib import Path
from typing import Any

from data.moved import NAMES, named_as
from winnow.config.experiment import Experiment
from winnow.errors import refuse_changed
from winnow.runtime.hashes import change_hashes, note
from winnow.runtime.lock import run_lock
from winnow.runtime.run import Run, write_resolved
from winnow.tokens import open_tokens

DROP = "drop_shared_ngrams"
DROPPING = {DROP, "held_out_sequences"}  # no token depends on them where nothing is dropped


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
            tokens = open_tokens(path)
            dropping = f"text.{DROP}"
            wanted = {dropping: config.text.drop_shared_ngrams, **token_settings(config)}
            made = {dropping: 0, **tokens.settings}
            refuse_changed(path, made, {key: value for key, value in wanted.items() if key not in NAMES})
            refuse_changed(path, made, named_as(config, tokens))
            print(f"{_describe(path)}; nothing to do")
            return
        # imported here, so that a stage with nothing to do does not wait for datasets and transformers
        from data.write_tokens import write_tokens

        write_resolved(config)
        change_hashes(path.parent, forget=[path.name])
        write_tokens(path, config, token_settings(config))
        change_hashes(path.parent, {path.name: note(path)})
        print(_describe(path))


def token_settings(config: Experiment) -> dict[str, Any]:
    """Collect the settings that the tokens depend on, by their names in the configuration."""
    left_out = set() if config.text.drop_shared_ngrams else DROPPING  # as before there was such a setting
    left_out = left_out | ({"chat_template"} if config.text.chat_template else set())
    text = {f"text.{key}": value for key, value in config.text.model_dump(mode="json", exclude=left_out).items()}
    return {"model.name": config.model.name, "model.revision": config.model.revision, **text}


def _describe(path: Path) -> str:
    tokens = open_tokens(path)
    dropped = f"; {tokens.dropped_sequences:,} left out" if tokens.dropped_sequences is not None else ""
    return f"{path}: {tokens.sequences:,} sequences of {tokens.context} tokens{dropped}"
