"""Shapes and types are checked while tests run: jaxtyping's import hook, with beartype."""

from functools import partial
from importlib.machinery import SourceFileLoader
from types import CodeType
from unittest.mock import patch

from jaxtyping import _import_hook, install_import_hook


def check_types(packages: list[str]) -> None:
    """Check every call of a function of these packages, which are imported from now on.

    jaxtyping looks for its bytecode under a name of its own as long as one of its modules is executed, and so for that
    of every library which that module imports: a thousand files of TransformerLens, pandas and datasets are compiled
    again in every process, eight seconds of them. Here it does so while it looks for a module's code, and no longer.
    """

    def get_code(self: _import_hook._JaxtypingLoader, fullname: str) -> CodeType | None:
        name = partial(_import_hook._optimized_cache_from_source, self._typechecker.get_hash())
        with patch("importlib._bootstrap_external.cache_from_source", name):
            return SourceFileLoader.get_code(self, fullname)

    _import_hook._JaxtypingLoader.get_code = get_code
    _import_hook._JaxtypingLoader.exec_module = SourceFileLoader.exec_module
    install_import_hook(packages, "beartype.beartype")
