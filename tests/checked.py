"""Shapes and types are checked while tests run: jaxtyping's import hook, with beartype."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial, wraps
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType
from typing import Any, get_args
from unittest.mock import patch

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, _import_hook, install_import_hook
from jaxtyping._storage import pop_shape_memo, push_shape_memo

_by_jaxtyping = jaxtyping.jaxtyped


def check_types(packages: list[str]) -> None:
    """Check every call of a function of these packages, which are imported from now on.

    jaxtyping looks for its bytecode under a name of its own as long as one of its modules is executed, and so for that
    of every library which that module imports: a thousand files of TransformerLens, pandas and datasets are compiled
    again in every process, eight seconds of them. Here it does so while it looks for a module's code, and no longer.

    Around every function jaxtyping binds the arguments once more and checks them twice, twenty times what beartype
    takes. Here a function without a shape goes to beartype alone, and around one with shapes the names of their axes
    are kept while it is called, which is all that jaxtyping adds to beartype.
    """

    def get_code(self: _import_hook._JaxtypingLoader, fullname: str) -> CodeType | None:
        name = partial(_import_hook._optimized_cache_from_source, self._typechecker.get_hash())
        with patch("importlib._bootstrap_external.cache_from_source", name):
            return SourceFileLoader.get_code(self, fullname)

    _import_hook._JaxtypingLoader.get_code = get_code
    _import_hook._JaxtypingLoader.exec_module = SourceFileLoader.exec_module
    jaxtyping.jaxtyped = _checked  # what the import hook decorates with
    install_import_hook(packages, "beartype.beartype")


def _checked(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """Check a function's calls, or a dataclass'."""
    if function is None:
        return partial(_checked, typechecker=typechecker)
    if isinstance(function, type):
        if dataclasses.is_dataclass(function) and "__init__" in vars(function):
            function.__init__ = _checked(function.__init__, typechecker=typechecker)
        return function
    # beartype would check what a generator yields, jaxtyping leaves that alone
    if not isinstance(function, FunctionType) or inspect.isgeneratorfunction(function):
        return _by_jaxtyping(function, typechecker=typechecker)
    kinds = function.__annotations__.values()
    if any(isinstance(kind, str) for kind in kinds):  # text that may mean nothing when the function is called
        return _by_jaxtyping(function, typechecker=typechecker)
    checked = beartype(function)
    if not any(map(_declares_shape, kinds)):
        return checked

    @wraps(function)
    def with_axes(*arguments: Any, **named: Any) -> Any:
        push_shape_memo({})
        try:
            return checked(*arguments, **named)
        finally:
            pop_shape_memo()

    return with_axes


def _declares_shape(kind: Any) -> bool:
    """Find a shape in an annotation."""
    if isinstance(kind, list | tuple):  # the parameters of a Callable
        return any(map(_declares_shape, kind))
    return (isinstance(kind, type) and issubclass(kind, AbstractArray)) or any(map(_declares_shape, get_args(kind)))
