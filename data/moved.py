"""Tell whether a text or a tokenizer that is named otherwise is the one that made a run's tokens."""

import sys
from itertools import islice
from pathlib import Path
from typing import Any

from winnow.config.experiment import FILES, Experiment, TextSettings
from winnow.errors import refuse_changed
from winnow.model.files import tokenizer_hash
from winnow.model.identity import NAME, REVISION, same_place
from winnow.paths import expand
from winnow.tokens import TokenFile

SOURCE = "text.source"
NAMES = (NAME, REVISION, SOURCE)


def named_as(config: Experiment, tokens: TokenFile) -> dict[str, Any]:
    """Give the names of model and text for a comparison: as the token file has them, where they are the same.

    A text counts by its documents, and by its name where its files are gone; a tokenizer in a local folder by its
    files. Raises `UserError` where a local folder has another tokenizer than made the tokens.
    """
    return {**_model_named_as(config, tokens), SOURCE: _source_named_as(config.text, tokens)}


def _model_named_as(config: Experiment, tokens: TokenFile) -> dict[str, Any]:
    name, folder = config.model.name, Path(config.model.name)
    asked = {NAME: name, REVISION: config.model.revision}
    made = {key: tokens.settings.get(key) for key in asked}
    alike = same_place(name, str(made[NAME]))
    found = tokenizer_hash(folder) if folder.is_dir() else ""
    if not found:
        return {**asked, NAME: made[NAME]} if alike else asked
    if tokens.tokenizer_sha256:
        what = "tokenizer_sha256 of the model"
        refuse_changed(tokens.path, {what: tokens.tokenizer_sha256}, {what: found})
    elif not alike:
        if tokens.tokenizer_commit:
            return asked
        _say(tokens, f"model.name = {name} is taken for {made[NAME]}", "before tokenizers were hashed")
    return made


def _source_named_as(text: TextSettings, tokens: TokenFile) -> str:
    made = str(tokens.settings.get(SOURCE))
    now, before = (source.removeprefix(FILES) for source in (text.source, made))
    if text.source == made or not text.source.startswith(FILES):
        return text.source
    from_files = made.startswith(FILES)
    if from_files and _absolute(now) == _absolute(before):
        return made
    # what follows loads pyarrow and datasets: the text is named otherwise, so there is something to look at
    from data.files import is_there

    if not is_there(now):
        if not from_files:
            return text.source
        _say(tokens, f"{text.source}: no such file", f"of {made}, and stay as they are")
        return made
    if tokens.text_sha256:
        return made if _is_of(text, tokens) else text.source
    if not from_files:
        return text.source
    _say(tokens, f"{text.source} is taken for {made}", "before texts were hashed")
    return made


def _is_of(text: TextSettings, tokens: TokenFile) -> bool:
    """Read as many documents as made the tokens, and compare their hash."""
    from data.source import documents
    from data.text_hash import EMPTY, add_document

    rest, found = documents(text), EMPTY
    for document in islice(rest, tokens.documents):
        found = add_document(found, document)
    ended = tokens.sequences < text.tokens // text.context  # all of the text was read
    return found == tokens.text_sha256 and not (ended and next(rest, None) is not None)


def _absolute(pattern: str) -> Path:
    return expand(pattern).resolve()


def _say(tokens: TokenFile, what: str, made: str) -> None:
    print(f"{what}: {tokens.path} was made {made}", file=sys.stderr)
