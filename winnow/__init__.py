"""winnow: what features a language model's activations hold.

Names are loaded when they are first used: a stage that has nothing to do need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from winnow.dictionary import Dictionary, load_dictionaries, load_dictionary
    from winnow.errors import UserError
    from winnow.store import ActivationStore

__all__ = ["ActivationStore", "Dictionary", "UserError", "load_dictionaries", "load_dictionary"]

_HOME = {
    "ActivationStore": "winnow.store",
    "Dictionary": "winnow.dictionary",
    "UserError": "winnow.errors",
    "load_dictionaries": "winnow.dictionary",
    "load_dictionary": "winnow.dictionary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'winnow' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
