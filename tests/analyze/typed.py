"""Invented metrics by the schema: what an invention leaves out was not measured."""

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from analyze.schema.record import Record, keys_of, read_record
from analyze.schema.report import VERSION, Metrics
from winnow.runtime.to_json import to_json


def typed(metrics: Mapping[str, Any]) -> Metrics:
    """Read metrics by the schema, with None for every key that is declared and missing."""
    return read_record(Metrics, to_json(_filled(Metrics, {**metrics, "version": VERSION})))


def _filled(kind: Any, value: Any) -> Any:
    for inner in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ():
        if inner is not type(None) and value is not None:
            return _filled(inner, value)
    if get_origin(kind) is Annotated:
        return _filled(get_args(kind)[0], value)
    if isinstance(kind, type) and issubclass(kind, Record) and isinstance(value, Mapping):
        declared = keys_of(kind)
        return dict.fromkeys(declared) | {
            name: _filled(declared[name].kind, inner) if name in declared else inner for name, inner in value.items()
        }
    if get_origin(kind) is list and isinstance(value, list):
        return [_filled(get_args(kind)[0], item) for item in value]
    return value
