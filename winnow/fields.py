"""Read JSON files, and check their fields as they are taken: the one way in which winnow reads JSON.

    fields = read_fields(path, remedy="delete it, and train again")
    fields.integer("rows", least=0)
    fields.object("settings").text("architecture")

What does not fit raises `UserError` in one line: file, field, expected, found, remedy. Nothing heavy is imported.
"""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.paths import refuse_special

LARGEST = 2**63 - 1
SHOWN = 60  # characters of a value that are shown


def read_json(path: Path, remedy: str = "") -> Any:
    """Read any JSON value. Raises FileNotFoundError, and `UserError` where the file is not JSON or cannot be read."""
    refuse_special(path, remedy)
    try:
        content = path.read_bytes()
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
    return parse_json(content, path, remedy)


def parse_json(content: str | bytes, path: Path | str, remedy: str = "") -> Any:
    """Parse JSON that stands in `path`, whose name is used in messages. Raises `UserError` where it is not JSON."""
    ending = f"; {remedy}" if remedy else ""
    try:
        return json.loads(content.decode("utf-8") if isinstance(content, bytes) else content)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8, found other bytes at byte {error.start}{ending}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}){ending}") from error


def read_fields(path: Path, remedy: str = "") -> "Fields":
    """Read a JSON object. Raises FileNotFoundError, and `UserError` where the file holds anything else."""
    return Fields(path, read_json(path, remedy), remedy=remedy)


class Fields:
    """A JSON object whose fields are checked as they are taken; `name` says where in the file it stands."""

    def __init__(self, path: Path | str, fields: Any, name: str = "", remedy: str = "") -> None:
        self._path = path
        self._prefix = f"{name}." if name else ""
        self._remedy = f"; {remedy}" if remedy else ""
        if not isinstance(fields, dict):
            raise self.wrong(name or "the file", "a JSON object", fields)
        self.all: dict[str, Any] = fields

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self.all.get(name) is not None

    def integer(self, name: str, least: int, most: int = LARGEST) -> int:
        value = self._get(name, "an integer")
        if type(value) is not int or value < least:  # a bool is an int too
            raise self.wrong(self._prefix + name, f"an integer of at least {least}", value)
        if value > most:
            raise self.wrong(self._prefix + name, f"an integer of at most {most}", value)
        return value

    def number(self, name: str) -> float:
        """Take a finite number."""
        value = self._get(name, "a number")
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.wrong(self._prefix + name, "a finite number", value)
        return float(value)

    def any_number(self, name: str) -> float:
        """Take a number, also one that is not finite."""
        value = self._get(name, "a number")
        if type(value) not in (int, float):
            raise self.wrong(self._prefix + name, "a number", value)
        return float(value)

    def text(self, name: str) -> str:
        value = self._get(name, "a string")
        if not isinstance(value, str):
            raise self.wrong(self._prefix + name, "a string", value)
        return value

    def texts(self, name: str) -> "list[str]":
        """Take a list of strings."""
        value = self.list(name)
        if not all(isinstance(one, str) for one in value):
            raise self.wrong(self._prefix + name, "a list of strings", value)
        return value

    def digest(self, name: str) -> str:
        """Take a sha256 in hexadecimal."""
        value = self._get(name, "a sha256")
        if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise self.wrong(self._prefix + name, "a sha256 of 64 hexadecimal digits", value)
        return value

    def flag(self, name: str) -> bool:
        value = self._get(name, "true or false")
        if not isinstance(value, bool):
            raise self.wrong(self._prefix + name, "true or false", value)
        return value

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = self._get(name, f"one of {', '.join(known)}")
        if value not in known:
            raise self.wrong(self._prefix + name, f"one of {', '.join(known)}", value)
        return value

    def object(self, name: str) -> "Fields":
        value = self._get(name, "a JSON object")
        return Fields(self._path, value, self._prefix + name, self._remedy.removeprefix("; "))

    def objects(self, name: str) -> "dict[str, Fields]":
        """Take an object of objects."""
        inner = self.object(name)
        return {key: inner.object(key) for key in inner.all}

    def list(self, name: str, length: int | None = None) -> "list[Any]":
        value = self._get(name, "a list")
        if not isinstance(value, list) or length not in (None, len(value)):
            raise self.wrong(self._prefix + name, "a list" + ("" if length is None else f" of {length}"), value)
        return value

    def integers(self, name: str, least: int, length: int | None = None) -> "list[int]":
        """Take a list of integers."""
        found = self.list(name, length)
        if not all(type(value) is int and least <= value <= LARGEST for value in found):
            raise self.wrong(self._prefix + name, f"integers of at least {least}", found)
        return found

    def expect(
        self,
        *,
        texts: Iterable[str] = (),
        integers: Iterable[str] = (),
        numbers: Iterable[str] = (),
        flags: Iterable[str] = (),
        objects: Iterable[str] = (),
    ) -> None:
        """Check the types of fields that need not be there and may be null."""
        for names, take in (
            (texts, self.text),
            (integers, lambda name: self.integer(name, 0)),
            (numbers, self.number),
            (flags, self.flag),
            (objects, self.object),
        ):
            for name in filter(self.has, names):
                take(name)

    def wrong(self, name: str, expected: str, found: Any) -> UserError:
        """Compose the error for a value that does not fit."""
        try:
            shown = json.dumps(found)
        except (TypeError, ValueError, RecursionError):
            shown = type(found).__name__
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
        return UserError(f"{self._path}: {name}: expected {expected}, found {shown}{self._remedy}")

    def _get(self, name: str, expected: str) -> Any:
        if name not in self.all:
            raise UserError(
                f"{self._path}: {self._prefix}{name}: expected {expected}, found no such field{self._remedy}"
            )
        return self.all[name]


def read_lines(path: Path, check: Callable[[Fields], Any], remedy: str = "") -> Iterable[dict[str, Any]]:
    """Read a file of one JSON object a line, each checked; the number of a line that does not fit is named."""
    refuse_special(path, remedy)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        ending = f"; {remedy}" if remedy else ""
        raise UserError(f"{path}: expected UTF-8, found other bytes at byte {error.start}{ending}") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = Fields(f"{path}, line {number}", parse_json(line, f"{path}, line {number}", remedy), remedy=remedy)
        check(fields)
        found.append(fields.all)
    return found
