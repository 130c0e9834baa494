"""The reader of RUN/polytopes: every key by its name, damage in one line, and what is not there is left out."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyze.polytopes import SCHEMAS, VERSIONS, read_polytopes
from polytopes.experiments.table import EXPERIMENTS
from tests.analyze.sample_polytopes import INPUTS, invented, write_results
from winnow.errors import UserError


def keys_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk to every key, in the first entry of each list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key)
            if key != "files":
                yield from keys_in(inner, (*place, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from keys_in(value[0], (*place, 0))


def renamed(results: Any, place: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(results)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[f"{place[-1]}_"] = inner.pop(place[-1])
    return changed


def test_every_experiment_of_the_stage_is_read_in_its_version() -> None:
    assert {name: entry.version for name, entry in EXPERIMENTS.items()} == VERSIONS


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_that_is_renamed_is_refused_by_name(name: str, tmp_path: Path) -> None:
    results = invented(name)
    places = [*keys_in(results)]
    assert len(places) > 10
    for place in places:
        path = write_results(tmp_path, name, renamed(results, place))
        with pytest.raises(UserError) as refused:
            read_polytopes(tmp_path, INPUTS)
        said = str(refused.value)
        assert said.startswith(f"{path}: "), said
        assert said.count("\n") == 0
        assert f"{place[-1]}_" in said, (place, said)
        assert said.endswith("; run make polytopes again")


def test_a_damaged_file_is_named_in_one_line(tmp_path: Path) -> None:
    path = write_results(tmp_path, "codes")
    path.write_text(path.read_text().replace('"layer":1', '"layer":7'))
    with pytest.raises(UserError, match=r"codes\.json: expected sha256 \w+, found \w+: the file is damaged") as refused:
        read_polytopes(tmp_path, INPUTS)
    assert "\n" not in str(refused.value)
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=r"codes\.json: cannot be read as JSON"):
        read_polytopes(tmp_path, INPUTS)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = write_results(tmp_path, "radius", version=2)
    with pytest.raises(UserError) as refused:
        read_polytopes(tmp_path, INPUTS)
    assert str(refused.value) == f"{path}: expected version 1, found 2; run make polytopes again"


def test_results_of_another_model_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path, "codes", inputs={**INPUTS, "weights_sha256": "other"})
    write_results(tmp_path, "maps")
    found, hashes = read_polytopes(tmp_path, INPUTS)
    assert found.codes is None
    assert found.maps is not None
    assert list(hashes) == ["maps"]
    assert "codes.json: made from other weights_sha256 than the harvest; left out" in capsys.readouterr().err


def test_what_is_not_there_is_none_and_the_hashes_are_the_files_own(tmp_path: Path) -> None:
    assert read_polytopes(tmp_path / "none", INPUTS)[0].is_empty
    path = write_results(tmp_path, "scaling")
    found, hashes = read_polytopes(tmp_path, INPUTS)
    assert hashes == {"scaling": json.loads(path.read_text())["sha256"]}
    assert not found.is_empty
    assert found.codes is None


def test_density_from_before_later_layers_were_measured_is_read(tmp_path: Path) -> None:
    results = invented("density")
    for label in results["labels"]:
        del label["through"]
    write_results(tmp_path, "density", results)
    found, _ = read_polytopes(tmp_path, INPUTS)
    assert found.density is not None
    assert [label.through for label in found.density.labels] == [None, None]
