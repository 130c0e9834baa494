"""Every key of `metrics.json`, at every level, is read by its name or refused by it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyze.schema.file import read_metrics, refuse_older, write_metrics
from analyze.stage import measure_run
from tests.analyze.miniature import add_dictionary
from tests.analyze.sample_truth import truth_metrics
from tests.analyze.typed import typed
from tests.experiments import ROOT
from winnow.errors import UserError
from winnow.runtime.to_json import to_json

OPEN = {"options", "settings"}  # what they hold the configuration names, not the schema
PATHS = "inputs.dictionaries"


def keys_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk to every key that is declared, in the first entry of each list alone; nothing below settings and hashes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key)
            if key not in OPEN and ".".join(map(str, (*place, key))) != PATHS:
                yield from keys_in(inner, (*place, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from keys_in(value[0], (*place, 0))


def renamed(metrics: dict[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(metrics)
    inner: Any = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[f"{place[-1]}_"] = inner.pop(place[-1])
    return changed


def shortened(value: Any) -> Any:
    """Keep the first entry of each list: its keys are those that `keys_in` walks to."""
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    return [shortened(inner) for inner in value[:1]] if isinstance(value, list) else value


def assert_every_key_is_refused(metrics: dict[str, Any], path: Path) -> set[str]:
    """Rename every key in turn; the names that were refused."""
    metrics = shortened(metrics)
    path.write_text(json.dumps(metrics))
    assert read_metrics(path) is not None
    places = [*keys_in(metrics)]
    for place in places:
        path.write_text(json.dumps(renamed(metrics, place)))
        with pytest.raises(UserError) as refused:
            read_metrics(path)
        said = str(refused.value)
        assert said.startswith(f"{path}: "), said
        assert said.count("\n") == 0
        assert f"{place[-1]}_" in said, (place, said)
        assert said.endswith("; delete it, and run make analyze again")
    return {".".join(str(step) for step in place if step != 0) for place in places}


@pytest.mark.usefixtures("bare_page")
def test_every_key_of_a_finished_run_that_is_renamed_is_refused_by_name(experiment, tmp_path):
    add_dictionary(ROOT / experiment.run, 192)
    add_dictionary(ROOT / experiment.run, 48, seed=1)
    measure_run(experiment)
    metrics = json.loads((ROOT / experiment.run / "report" / "metrics.json").read_text())
    names = assert_every_key_is_refused(metrics, tmp_path / "metrics.json")
    assert len(names) > 200
    for name in (
        *("version", "run.path", "evaluation.rows", "dictionaries.fvu", "dictionaries.ce.recovered", "pairs.mmcs"),
        *("dictionaries.sparsity.k", "dictionaries.shrinkage.0.5", "pairs.subspaces.angles.overlap.p", "pairs.from"),
        *("activations.fits.laws.normal.parameters", "families.edges", "lineages.sizes.to_largest.splits"),
        *("groups.fvu.mean", "choosing.stickiness.l1_by_size", "ceilings.diagnosis.r2", "inputs.harvest"),
        *("shown.dictionaries.title",),
    ):
        assert name in names


def test_every_key_of_a_run_with_a_known_truth_that_is_renamed_is_refused_by_name(tmp_path):
    names = assert_every_key_is_refused(to_json(typed(truth_metrics())), tmp_path / "metrics.json")
    for name in (
        *("truth.regime.name", "dictionaries.truth.firing.f1.0.5", "dictionaries.truth.steepest.rows"),
        *("choosing.verdict.all.criteria.elbow.regret", "stopping.share", "groups.rows_to_half.known"),
    ):
        assert name in names


def test_written_metrics_are_read_as_they_were(tmp_path):
    metrics = typed(truth_metrics())
    write_metrics(metrics, tmp_path / "metrics.json")
    assert read_metrics(tmp_path / "metrics.json") == metrics
    assert read_metrics(tmp_path / "none.json") is None


def test_a_report_from_before_devices_were_noted_is_read(tmp_path):
    path, written = tmp_path / "metrics.json", to_json(typed(truth_metrics()))
    del written["run"]["devices"]
    path.write_text(json.dumps(written))
    found = read_metrics(path)
    assert found is not None
    assert found.at("run.devices") is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_report_of_an_older_version_is_refused_only_where_it_is_asked_for(tmp_path, version):
    path = tmp_path / "metrics.json"
    refuse_older(path, "run it")
    path.write_text(json.dumps({"version": version, "ceiling": 1}))
    assert read_metrics(path) is None
    with pytest.raises(UserError, match=rf"metrics.json: a report of version {version}, expected version 3; run it$"):
        refuse_older(path, "run it")
    path.write_text("[]")
    with pytest.raises(UserError, match="expected an object, found list"):
        read_metrics(path)
