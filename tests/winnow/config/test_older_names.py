"""`analyze.evaluation_sequences` was the name of what is `text.held_out_sequences`, or `toy.held_out_rows`, today."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.experiments import load
from winnow.errors import UserError

TABLES: list[tuple[dict[str, Any], str]] = [
    ({}, "text.held_out_sequences"),
    ({"toy": {"rows": 100}}, "toy.held_out_rows"),
]
OLD = {"analyze": {"evaluation_sequences": 7}}


def write(folder: Path, tables: dict[str, Any]) -> Path:
    path = folder / "experiment.toml"
    path.write_text(tomli_w.dumps({"run": "runs/test", **tables}))
    return path


@pytest.mark.parametrize(("tables", "key"), TABLES)
def test_the_older_name_is_read(tmp_path: Path, tables: dict[str, Any], key: str) -> None:
    config = load(write(tmp_path, tables | OLD))
    assert (config.held_out, config.held_out_key) == (7, key)
    assert config.analyze.evaluation_sequences is None  # and so config.toml has the new name alone
    assert load(write(tmp_path, tables | OLD), "--analyze.evaluation_sequences", "9").held_out == 9
    assert load(write(tmp_path, tables), "--analyze.evaluation_sequences", "9").held_out == 9


@pytest.mark.parametrize(("tables", "key"), TABLES)
def test_where_neither_name_is_given_the_default_holds(tmp_path: Path, tables: dict[str, Any], key: str) -> None:
    assert load(write(tmp_path, tables)).held_out == 256
    assert load(write(tmp_path, tables), f"--{key}", "5").held_out == 5


@pytest.mark.parametrize(("tables", "key"), TABLES)
def test_both_names_at_once_are_refused(tmp_path: Path, tables: dict[str, Any], key: str) -> None:
    table, _, name = key.partition(".")
    new = {table: {**tables.get(table, {}), name: 7}}
    for given, arguments in (
        (tables | new | OLD, []),
        (tables | OLD, [f"--{key}", "7"]),
        (tables | new, ["--analyze.evaluation_sequences", "7"]),
    ):
        with pytest.raises(UserError, match=rf"analyze\.evaluation_sequences is the older name of {key}, and both are"):
            load(write(tmp_path, given), *arguments)


@pytest.mark.parametrize(("tables", "key"), TABLES)
def test_a_mistake_is_named_as_it_was_written(tmp_path: Path, tables: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=r"analyze\.evaluation_sequences: Input should be greater than 0, found 0"):
        load(write(tmp_path, tables | {"analyze": {"evaluation_sequences": 0}}))
