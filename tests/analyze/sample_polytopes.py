"""Invented results of the stage polytopes, by the schema: every number is another one, so that it can be looked for."""

import types
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from analyze.polytopes import SCHEMAS, VERSIONS
from analyze.schema.record import Record, keys_of
from winnow.runtime.record import Key, write_record

INPUTS = {"weights_sha256": "w", "tokens": "t"}
# lists whose length or content follows from others
FIXED: dict[str, Any] = {
    "sharpness": [0.5, 1.0, None],
    "factors": [0.5, 1.0, 2.0],
    "edges": [0.0, 0.5, 1.0, 2.0],
    "centres": [1, 4, 16],
    "tokens": ["a ", "<b>", "\n", " d"],
    "at": 1,
    "files": {"rows.h5": "0" * 64},
    "reason": None,
}
PAIRS = {"natural", "at_edge"}
ONE_OF: dict[str, tuple[str, ...]] = {"controls": ("untrained", "gaussian")}


def invented(name: str) -> dict[str, Any]:
    """Invent the results of an experiment, with two entries in every list of records and three in one of numbers."""
    return _value(SCHEMAS[name], "", count(1), 0)


def write_results(folder: Path, name: str, results: Any = None, **key: Any) -> Path:
    """Write results as the stage does, the invented ones by default; the file's path."""
    path = folder / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    made = {"version": VERSIONS[name], "inputs": INPUTS, "settings": {}, **key}
    write_record(path, Key(**made), invented(name) if results is None else results)
    return path


def _value(kind: Any, name: str, numbers: Any, place: int) -> Any:
    if name in FIXED and (get_origin(kind) is list or name in ("at", "files", "reason")):
        return FIXED[name]
    if get_origin(kind) in (Union, types.UnionType):
        known = [one for one in get_args(kind) if one is not type(None)]
        return _value(float if float in known else known[0], name, numbers, place)
    if get_origin(kind) is Annotated:
        inner, names = get_args(kind)
        chosen: tuple[str, ...] = ONE_OF.get(name) or names
        return {one: _value(get_args(inner)[1], one, numbers, 0) for one in chosen}
    if isinstance(kind, type) and issubclass(kind, Record):
        return {key: _value(of.kind, key, numbers, place) for key, of in keys_of(kind).items()}
    if get_origin(kind) is list:
        return [_value(get_args(kind)[0], name, numbers, i) for i in range(_length(get_args(kind)[0], name))]
    if kind is str:
        return f"{name} {place}"
    if kind is bool:
        return True
    if name == "layer":
        return place
    number = next(numbers)
    return 1000 + number if kind is int else round(1 + number * 0.0137, 4)


def _length(kind: Any, name: str) -> int:
    if name in PAIRS:
        return 2
    is_record = isinstance(kind, type) and issubclass(kind, Record)
    return 2 if is_record and name not in ("curve", "ridge", "constant", "shared_code", *_CURVES) else 3


_CURVES = ("tangent", "random_centres", "shuffled")
