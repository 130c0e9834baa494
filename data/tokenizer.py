"""Open a model's tokenizer, and choose the special tokens around documents and sequences."""

import json
import logging
from typing import Any, NamedTuple

import transformers
from transformers import AutoTokenizer

from winnow.config.experiment import ModelSettings, TextSettings
from winnow.errors import UserError
from winnow.hub import FAILURES, keep_commit, model_folder, quiet, why


class TextTokenizer:
    """Turns documents into token ids, without special tokens, on all cores.

    commit: the commit of the model's repository on the hub; "" for a local folder.
    """

    def __init__(self, settings: ModelSettings, commit: str = "") -> None:
        """Open the tokenizer of a model, at `commit` if it is given.

        Raises `UserError` naming what was tried if there is none.
        """
        self._name = settings.name
        transformers.logging.disable_progress_bar()
        # silence the warning about documents longer than the model's context: they are cut later
        logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
        try:
            with quiet():
                self.commit = keep_commit("model", settings.name, settings.revision, commit)
                self._tokenizer = AutoTokenizer.from_pretrained(model_folder(settings.name, self.commit))
        except FAILURES as error:
            raise UserError(
                f"model.name = {settings.name}: no tokenizer found ({why(error, settings.name, settings.revision)}); a "
                "local folder in Hugging Face format works too"
            ) from error
        self.vocabulary = len(self._tokenizer)
        self.bos: int | None = self._tokenizer.bos_token_id
        self.eos: int | None = self._tokenizer.eos_token_id

    def __call__(self, documents: list[str]) -> list[list[int]]:
        """Turn documents into ids. Raises `UserError` if nothing comes of any of them."""
        found = self._tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]
        if any(documents) and not any(found):
            raise UserError(
                f"model.name = {self._name}: its tokenizer turns text into nothing; are the tokenizer's files there?"
            )
        return found

    def render(self, conversation: list[dict[str, Any]]) -> str:
        """Write a conversation, messages with role and content, as the text that the model was trained on.

        Raises `UserError` if the tokenizer does not know how, or its template refuses the conversation.
        """
        if not self._tokenizer.chat_template:
            raise UserError(
                "text.column: holds conversations, and the model's tokenizer has no chat template; choose a column of "
                "text, or a model that has one"
            )
        try:
            return self._tokenizer.apply_chat_template(conversation, tokenize=False)
        except Exception as error:  # templates raise what they like: for roles out of turn, for contents of other types
            raise UserError(
                f"text.column: the chat template refuses a conversation ({' '.join(str(error).split())}): "
                f"{json.dumps(conversation, default=str)[:80]}…"
            ) from error

    @property
    def prepends_bos(self) -> bool:
        """Whether the tokenizer itself starts a text with BOS, as its model was trained."""
        return self.bos is not None and self._tokenizer("").input_ids[:1] == [self.bos]


class Framing(NamedTuple):
    """The special tokens around documents and sequences."""

    separator: list[int]  # between two documents: EOS and BOS, those that the tokenizer has, each once
    bos: int | None  # at the start of every sequence


def framing(tokenizer: TextTokenizer, settings: TextSettings) -> Framing:
    """Choose the special tokens. Raises `UserError` if BOS is asked for and the tokenizer has none."""
    separator = list(dict.fromkeys(token for token in (tokenizer.eos, tokenizer.bos) if token is not None))
    wanted = tokenizer.prepends_bos if settings.prepend_bos == "auto" else settings.prepend_bos
    if wanted and tokenizer.bos is None:
        raise UserError("text.prepend_bos = true: this tokenizer has no BOS token; set it to auto or false")
    return Framing(separator, tokenizer.bos if wanted else None)
