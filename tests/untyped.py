"""winnow as a user has it: imported a second time, without the checks of types that tests add to every call."""

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType


def untyped(*names: str) -> list[ModuleType]:
    """Import modules of winnow anew, and leave those that are there as they are.

    Their classes are other ones than the tests' own; their `UserError` is a ValueError.
    """
    kept = _winnow()
    finders = list(sys.meta_path)
    sys.meta_path[:] = [finder for finder in finders if not type(finder).__module__.startswith("jaxtyping")]
    try:
        for name in kept:
            del sys.modules[name]
        return [importlib.import_module(name) for name in names]
    finally:
        sys.meta_path[:] = finders
        for name in _winnow():
            del sys.modules[name]
        sys.modules.update(kept)


def _winnow() -> Mapping[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "winnow"}
