"""Records whose keys are declared: read from JSON and written to it by their fields.

    found = read_record(Dictionary, {"path": …}, "dictionaries[0]")
    found.fvu, found["fvu"]              # the same; found["fuv"] raises UndeclaredKey
    found.at("ce.recovered")             # None where `ce` was not measured; "ce.recoverd" raises all the same

A value that was not measured is None. A key that is missing, or that nobody declared, is an error that names it.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, Union, dataclass_transform, get_args, get_origin
from typing import get_type_hints as hints_of

R = TypeVar("R", bound="Record")


class UndeclaredKey(LookupError):
    """A key that the schema does not declare; not a KeyError, which `Mapping.get` would take for a missing value."""


class SchemaError(ValueError):
    """Values that do not fit the schema; the message names the place and the key."""


def key(name: str) -> Any:
    """Declare a field whose key in JSON is no name in Python: `from`, or `matched_above_0.9`."""
    return field(metadata={"key": name})


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=False, field_specifiers=(key,))
def record(kind: type[R]) -> type[R]:
    """Make a record of a class: a frozen dataclass with keyword arguments only."""
    return dataclass(frozen=True, kw_only=True, eq=False)(kind)


class Record(Mapping[str, Any]):
    """Values by declared key, as attributes or as a read-only mapping; equal to any mapping of the same content."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, _declared(type(self), name).attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(keys_of(type(self)))

    def __len__(self) -> int:
        return len(keys_of(type(self)))

    def __contains__(self, name: object) -> bool:
        return name in keys_of(type(self))

    def at(self, path: str) -> Any:
        """Return the value at a path such as "ce.recovered"; None where a part of the way was not measured.

        Raises `UndeclaredKey` where the path is not declared, whether its value is there or not.
        """
        _, attributes = _resolved(type(self), path)
        value: Any = self
        for place, attribute in enumerate(attributes):
            if value is None:
                return None
            if not isinstance(value, Record):  # settings by name, of which this one need not be there
                return value.get(".".join(path.split(".")[place:]))
            value = getattr(value, attribute)
        return value

    def but(self: R, **values: Any) -> R:
        """Return a copy with other values of these attributes."""
        return replace(self, **values)  # type: ignore[type-var]  # every record is a dataclass


class Declared(NamedTuple):
    """One key: the attribute that holds its value, and its type."""

    attribute: str
    kind: Any


@cache
def keys_of(kind: type[Record]) -> dict[str, Declared]:
    """List what a record declares: key in JSON -> attribute and type."""
    hints = hints_of(kind, include_extras=True)
    return {f.metadata.get("key", f.name): Declared(f.name, hints[f.name]) for f in fields(kind)}  # type: ignore[arg-type]


def read_record(kind: type[R], values: Mapping[str, Any], where: str = "") -> R:
    """Read a record from what JSON holds.

    Raises `SchemaError` that names the place and the key where one is missing, not declared, or of another type.
    """
    declared = keys_of(kind)
    wrong = [f"unknown key {_at(where, name)}" for name in values if name not in declared]
    wrong += [f"missing key {_at(where, name)}" for name in declared if name not in values]
    if wrong:
        raise SchemaError(", ".join(wrong))
    read = {found.attribute: _read(found.kind, values[name], _at(where, name)) for name, found in declared.items()}
    return kind(**read)


def measured(record: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a path such as "ce.recovered"; None where a part of the way was not measured.

    Raises `UndeclaredKey` where the schema does not declare the path, and KeyError where a mapping that is no record
    lacks it.
    """
    if isinstance(record, Record):
        return record.at(path)
    name, _, rest = path.partition(".")
    value = record[name]
    return measured(value, rest) if rest and value is not None else value


def require(kind: type[Record], path: str) -> Any:
    """Return the declared type at a path such as "ce.recovered"; raises `UndeclaredKey` where there is none."""
    return _resolved(kind, path)[0]


def parts_of(kind: Any) -> tuple[type[Record], ...]:
    """Find the records that a declared type holds: itself, or in a list, in a mapping, or instead of None."""
    if isinstance(kind, type) and issubclass(kind, Record):
        return (kind,)
    return tuple(part for inner in get_args(kind) if not isinstance(inner, tuple) for part in parts_of(inner))


@cache
def _resolved(kind: type[Record], path: str) -> tuple[Any, tuple[str, ...]]:
    found: Any = kind
    attributes = []
    rest = path
    while rest:
        if not (isinstance(found, type) and issubclass(found, Record)):
            inner = next((part for part in _choices(found) if part is not type(None)), found)
            if get_origin(inner) is dict:  # settings by name
                return Any, (*attributes, rest)
            if not (isinstance(inner, type) and issubclass(inner, Record)):
                raise UndeclaredKey(f"{kind.__name__} declares no key {path!r}")
            found = inner
        name = max((n for n in keys_of(found) if rest == n or rest.startswith(n + ".")), key=len, default=None)
        if name is None:
            raise UndeclaredKey(f"{kind.__name__} declares no key {path!r}")
        attributes.append(keys_of(found)[name].attribute)
        found, rest = keys_of(found)[name].kind, rest[len(name) + 1 :]
    return found, tuple(attributes)


def _declared(kind: type[Record], name: str) -> Declared:
    try:
        return keys_of(kind)[name]
    except KeyError:
        raise UndeclaredKey(f"{kind.__name__} declares no key {name!r}") from None


def _read(kind: Any, value: Any, where: str) -> Any:
    """Read a value by its declared type."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, names = get_args(kind)
        for name in value or {}:
            if name not in names:
                raise SchemaError(f"unknown key {_at(where, name)}, expected {', '.join(names)}")
        return _read(inner, value, where)
    if origin in (Union, types.UnionType):
        return _read_union(_choices(kind), value, where)
    if isinstance(kind, type) and issubclass(kind, Record):
        _expect(isinstance(value, Mapping), where, "an object", value)
        return read_record(kind, value, where)
    if kind is list or origin is list:
        _expect(isinstance(value, list), where, "a list", value)
        inner = get_args(kind)
        if not inner:
            return value
        if not parts_of(inner[0]) and get_origin(inner[0]) is not list:
            _expect_items(_choices(inner[0]), value, where)
            return value
        return [_read(inner[0], item, f"{where}[{place}]") for place, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, Mapping), where, "an object", value)
        return {name: _read(get_args(kind)[1], item, _at(where, name)) for name, item in value.items()}
    return _read_leaf(kind, value, where)


def _expect_items(kinds: tuple[Any, ...], values: list[Any], where: str) -> None:
    """Raise `SchemaError` naming the first item that is of none of these kinds; there may be many items."""
    if any(not isinstance(kind, type) or get_origin(kind) for kind in kinds):
        return  # such as Any
    allowed = {*kinds, int} if float in kinds else set(kinds)
    if set(map(type, values)) <= allowed:
        return
    place = next(place for place, value in enumerate(values) if type(value) not in allowed)
    names = " or ".join("a number" if kind is float else _name_of(kind) for kind in kinds if kind is not int)
    _expect(False, f"{where}[{place}]", names or "an integer", values[place])


def _name_of(kind: type) -> str:
    return "null" if kind is type(None) else f"a value of type {kind.__name__}"


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None:
        _expect(type(None) in kinds, where, "a value", value)
        return None
    known = [kind for kind in kinds if kind is not type(None)]
    if len(known) > 1 and isinstance(value, Mapping):  # the record that shares most keys with it
        known.sort(key=lambda kind: len(keys_of(kind).keys() ^ value.keys()))
    return _read_number(value, where) if float in known else _read(known[0], value, where)


def _read_leaf(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    _expect(fits, where, f"a value of type {kind.__name__}", value)
    return value


def _read_number(value: Any, where: str) -> int | float:
    _expect(isinstance(value, int | float) and not isinstance(value, bool), where, "a number", value)
    return value


def _expect(fits: bool, where: str, expected: str, value: Any) -> None:
    if not fits:
        found = "null" if value is None else repr(value)
        raise SchemaError(f"{where}: expected {expected}, found {found[:60]}")


def _choices(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Annotated:
        return _choices(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
