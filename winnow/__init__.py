"""winnow: what features a language model's activations hold.

Names are loaded when they are first used, so that a stage with nothing to do does not wait for torch.
"""

from typing import TYPE_CHECKING

__all__ = [
    "ActivationStore",
    "Dictionary",
    "UserError",
    "affine_map",
    "crossings",
    "load_dictionaries",
    "load_dictionary",
    "pool_stable",
    "spline_code",
    "stability",
]

if TYPE_CHECKING:
    from winnow.dictionary import Dictionary, load_dictionaries, load_dictionary
    from winnow.errors import UserError
    from winnow.lens import affine_map, crossings, spline_code
    from winnow.stable import pool_stable, stability
    from winnow.store import ActivationStore
else:  # hidden from the type checker: with a `__getattr__` it would accept misspelt names
    from importlib import import_module

    _HOME = {
        "ActivationStore": "winnow.store",
        "Dictionary": "winnow.dictionary",
        "UserError": "winnow.errors",
        "affine_map": "winnow.lens",
        "crossings": "winnow.lens",
        "load_dictionaries": "winnow.dictionary",
        "load_dictionary": "winnow.dictionary",
        "pool_stable": "winnow.stable",
        "spline_code": "winnow.lens",
        "stability": "winnow.stable",
    }

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module 'winnow' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)

    def __dir__():
        return sorted({*globals(), *__all__})
