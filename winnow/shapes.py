"""Check what users hand to public functions: shapes, dtypes and devices, in one line each.

Python's types say nothing of shapes at run time, and torch broadcasts a width of 1 without a word. A check takes some
microseconds.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import UnionType
from typing import Any, NamedTuple, ParamSpec, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import AbstractArray
from torch import Tensor

from winnow.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def take_rows(what: str, given: Any, width: int, like: Tensor, moves: bool = False) -> Tensor:
    """Take rows [..., width] of floating-point numbers as a tensor of the dtype of `like`; numpy arrays are taken too.

    An array goes to the device of `like`, and a tensor where `moves` is set. `what` names the rows in messages. Raises
    `UserError` for another width, for integers, and for a tensor on another device.
    """
    rows = as_tensor(what, given)
    if not rows.ndim or rows.shape[-1] != width:
        raise UserError(f"{what}: expected [..., {width}], found {list(rows.shape)}")
    if rows.device != like.device:
        if not moves and rows is given:
            raise UserError(
                f"{what}: expected a tensor on {like.device}, found one on {rows.device}; move it with .to()"
            )
        return rows.to(like)
    return rows.to(like.dtype)


def as_tensor(what: str, given: Any) -> Tensor:
    """Take a tensor or a numpy array of floating-point numbers as a tensor; `what` names it in messages.

    An array is copied, whatever its byte order and strides. Raises `UserError` for anything else.
    """
    if isinstance(given, np.ndarray) and given.dtype.kind == "f" and given.dtype.itemsize <= 8:
        return torch.from_numpy(np.array(given, dtype=given.dtype.newbyteorder("="), order="C"))
    if not isinstance(given, Tensor) or not given.is_floating_point():
        kind = "" if isinstance(given, Tensor | np.ndarray) else "a tensor or a numpy array of "
        raise UserError(f"{what}: expected {kind}floating-point numbers, found {_kind(given)}")
    return given


def checks_shapes(function: Callable[P, R]) -> Callable[P, R]:
    """Check at every call the shapes and dtypes that annotations declare, such as `Float[Tensor, "row n"]`.

    A name stands for one length within a call. What does not fit raises `UserError`: every array as it is expected, and
    as it was found.
    """
    names = list(inspect.signature(function).parameters)
    declared = {name: kinds for name in names if (kinds := _declared(function.__annotations__.get(name)))}

    @wraps(function)
    def checked(*arguments: P.args, **named: P.kwargs) -> R:
        given = dict(zip(names, arguments, strict=False)) | named
        lengths: dict[str, Any] = {}
        for name, kinds in declared.items():
            if name in given and not any(_fits(given[name], kind, lengths) for kind in kinds):
                raise _unfit(function, declared, given)
        return function(*arguments, **named)

    return checked


class _Declared(NamedTuple):
    """An alternative of an annotation: arrays of a shape, or anything of a plain type."""

    kind: Any  # the type of the arrays, or of the value
    name: str = ""  # of the dtypes, as jaxtyping has it
    dtypes: frozenset[str] = frozenset()
    axes: tuple[str, ...] | None = None
    variadic: int | None = None  # place of the axis that stands for several


def _declared(annotation: Any) -> tuple[_Declared, ...]:
    """Give the alternatives of an annotation, if a shape is among them."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    found = tuple(_parsed(kind) for kind in kinds)
    return found if any(kind.axes is not None for kind in found) else ()


def _parsed(kind: Any) -> _Declared:
    if not (isinstance(kind, type) and issubclass(kind, AbstractArray)):
        return _Declared(kind)
    axes = tuple(kind.dim_str.split())
    several = [place for place, axis in enumerate(axes) if axis.startswith(("*", "..."))]
    return _Declared(
        kind.array_type, kind.dtype.__name__, frozenset(kind.dtypes), axes, several[0] if several else None
    )


def _fits(value: Any, declared: _Declared, lengths: dict[str, Any]) -> bool:
    """Tell whether a value is what was declared; what that says of lengths is added where it is."""
    if not isinstance(value, declared.kind):
        return False
    if declared.axes is None:
        return True
    if str(value.dtype).removeprefix("torch.") not in declared.dtypes:
        return False
    shape, axes = tuple(value.shape), declared.axes
    if declared.variadic is not None:
        before, after = declared.variadic, len(axes) - declared.variadic - 1
        if len(shape) < before + after:
            return False
        shape = (*shape[:before], shape[before : len(shape) - after], *shape[len(shape) - after :])
    if len(shape) != len(axes):
        return False
    found = dict(lengths)
    for axis, length in zip(axes, shape, strict=True):
        if length != (int(axis) if axis.isdigit() else found.setdefault(axis, length)):
            return False
    lengths.update(found)
    return True


def _unfit(
    function: Callable[..., Any], declared: Mapping[str, tuple[_Declared, ...]], given: Mapping[str, Any]
) -> UserError:
    """Compose the error for arguments of which one does not fit."""
    expected, found = [], []
    for name, kinds in declared.items():
        if name in given and given[name] is not None:
            shapes = {f"{kind.name} [{', '.join(kind.axes)}]" for kind in kinds if kind.axes is not None}
            expected.append(f"{name} {' or '.join(sorted(shapes))}")
            shape = getattr(given[name], "shape", None)
            found.append(f"{name} {_kind(given[name])}{'' if shape is None else f' {list(shape)}'}")
    called = function.__qualname__.removesuffix(".__init__").removesuffix(".__call__")
    return UserError(f"{called}: expected {', '.join(expected)}, found {', '.join(found)}")


def check_out(where: Any, out: Any, width: int, stored_as: torch.dtype | None = None) -> None:
    """Raise `UserError` unless `out` is a CPU tensor [row, width] of floating-point numbers, to read rows into.

    stored_as: then it must be of that dtype and contiguous. A file knows rows by their bytes: into a tensor of another
    width it would read parts of others.
    """
    if not isinstance(out, Tensor) or out.layout is not torch.strided:
        kind = "a sparse one" if isinstance(out, Tensor) else type(out).__name__
        raise UserError(f"{where}: out: expected a tensor [row, {width}], found {kind}")
    if out.ndim != 2 or out.shape[1] != width or out.device.type != "cpu":
        raise UserError(f"{where}: out: expected [row, {width}] on the CPU, found {list(out.shape)} on {out.device}")
    if not out.is_floating_point():
        raise UserError(f"{where}: out: expected floating-point numbers, found {_kind(out)}")
    if stored_as is not None and (out.dtype != stored_as or not out.is_contiguous()):
        strides = "" if out.is_contiguous() else ", not contiguous"
        raise UserError(f"{where}: out: expected {stored_as} as stored, contiguous, found {out.dtype}{strides}")


def _kind(value: Any) -> str:
    """Name a value in a message: the dtype of what has one, else its type."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return type(value).__name__
    return ("numpy's " if isinstance(value, np.ndarray) else "") + str(dtype).removeprefix("torch.")
