"""Read an experiment from its TOML file and the command line.

    python -m harvest --config configs/demo.toml --text.tokens 100000

Every mistake is one line that names the file or the key, and the remedy.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    CliToggleFlag,
    PydanticBaseSettingsSource,
    SettingsError,
)

from winnow.config.experiment import Dictionaries, Experiment
from winnow.config.polytopes import PolytopesSettings
from winnow.config.positions import PositionPolicy
from winnow.config.toy import ToySettings
from winnow.errors import UserError, nearest
from winnow.paths import expand

DIGITS = re.compile(r"\d+")
DEEPEST = 200
EXPECTED = "Input should be "  # how pydantic begins


def load_experiment(
    program: str,
    arguments: Sequence[str],
    flags: Mapping[str, str] | None = None,
    lists: Mapping[str, str] | None = None,
) -> Experiment:
    """Read the file that `--config` names, override it with the other arguments, and validate.

    `flags` and `lists` map the options that `program` has besides the settings to their help text. A flag becomes a
    bool attribute of the result; a list takes the words that follow it (`--runs a b`).
    Raises `UserError` naming the file or the key, and the remedy.
    """
    arguments = _gather(arguments, lists or {})
    _refuse_endless(arguments)

    class FromCommandLine(Experiment):
        __doc__ = Experiment.__doc__

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *args: Any, **kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            command_line = CliSettingsSource(
                settings_cls, cli_prog_name=program, cli_parse_args=list(arguments), cli_exit_on_error=False
            )
            return (command_line, init_settings)

    extra: dict[str, Any] = {
        name: (CliToggleFlag[bool], Field(default=False, exclude=True, description=text))
        for name, text in (flags or {}).items()
    } | {name: (list[str], Field(default=[], exclude=True, description=text)) for name, text in (lists or {}).items()}
    settings = create_model("FromCommandLine", __base__=FromCommandLine, __doc__=Experiment.__doc__, **extra)
    path = _config_path(arguments)
    try:
        return settings(**(_read_toml(path) if path else {}))
    except ValidationError as error:
        where = f"{path}: " if path else ""
        # where a setting may be a word or a table, report the error in the table
        errors = [dict(e) for e in error.errors() if len(error.errors()) == 1 or "literal['all']" not in e["loc"]]
        raise UserError(where + _describe(errors)) from error
    except SettingsError as error:
        raise UserError(f"{error}; --help lists every key") from error


def _gather(arguments: Sequence[str], lists: Mapping[str, str]) -> list[str]:
    """Join the words that follow a list option into one argument: `--runs a b` to `--runs ["a", "b"]`."""
    gathered: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        gathered.append(word)
        if word.removeprefix("--") in lists and word.startswith("--"):
            words = []
            while rest and not rest[0].startswith("--"):
                words.append(rest.pop(0))
            if not words:
                raise UserError(f"{word}: expected at least one value after it")
            gathered.append(json.dumps(words))
    return gathered


def _refuse_endless(arguments: Sequence[str]) -> None:
    """Raise `UserError` naming the option whose value no parser takes."""
    for option, word in zip(["", *arguments], arguments, strict=False):
        if max(map(len, DIGITS.findall(word)), default=0) > sys.get_int_max_str_digits() > 0:
            raise UserError(f"{option}: a number has thousands of digits")
        if word.count("[") > DEEPEST or word.count("{") > DEEPEST:
            raise UserError(f"{option}: a list or table is nested too deep")


def _config_path(arguments: Sequence[str]) -> Path | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, nargs="?")
    path = parser.parse_known_args(list(arguments))[0].config
    if path is None and not {"-h", "--help"} & set(arguments):
        raise UserError("which experiment? give --config FILE, for instance --config configs/demo.toml")
    return None if path is None else expand(path)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = sorted(str(p) for p in path.parent.glob("*.toml"))
        hint = f"; there are {', '.join(others)}" if others else ""
        raise UserError(f"{path}: no such configuration file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: a list or table is nested too deep") from None
    except ValueError:  # Python refuses to convert a number of more than 4,300 digits
        raise UserError(f"{path}: a number has thousands of digits") from None


def _describe(errors: Iterable[dict[str, Any]]) -> str:
    """Say of each key once what is wrong; of one that may be of several kinds, all of them."""
    wrong: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        key, message, found = _mistake(error)
        wrong.setdefault((key and f"{key}: ", found), []).append(message)
    return "; ".join(
        key + " or ".join([first, *(other.removeprefix(EXPECTED) for other in others)]) + found
        for (key, found), (first, *others) in wrong.items()
    )


def _mistake(error: dict[str, Any]) -> tuple[str, str, str]:
    """Give the key, what is wrong with it, and what was found."""
    location: tuple[str | int, ...] = error["loc"]
    key = ".".join(str(part) for part in location if str(part).isidentifier() or isinstance(part, int))
    key = key.replace(".PositionPolicy", "")
    if error["type"] == "extra_forbidden":
        return key, f"unknown key{nearest(str(location[-1]), _known_keys(location[:-1]))}", ""
    if error["type"] == "missing":
        return key, "missing", ""
    found = "" if not key or isinstance(error["input"], dict) else f", found {error['input']!r}"
    return key, error["msg"].removeprefix("Value error, "), found


def _known_keys(location: Sequence[str | int]) -> list[str]:
    owner: Any = Experiment
    for part in location:
        if isinstance(part, str) and part in owner.model_fields:
            owner = {
                "positions": PositionPolicy,
                "dictionaries": Dictionaries,
                "toy": ToySettings,
                "polytopes": PolytopesSettings,
            }.get(part, owner.model_fields[part].annotation)
    return list(owner.model_fields)
