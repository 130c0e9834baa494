"""A key that is not declared is an error that names it; None is what was not measured."""

import pytest

from analyze.schema.dictionaries import Dictionary
from analyze.schema.record import Record, SchemaError, UndeclaredKey, measured, read_record, record
from analyze.schema.report import Metrics
from tests.analyze.sample import sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.sample_truth import truth_metrics
from tests.analyze.typed import typed
from winnow.runtime.to_json import to_json


@pytest.fixture(scope="module")
def entry() -> Dictionary:
    return (typed(with_relations(sample_metrics(sizes=(16, 32)))).dictionaries or [])[0]


@pytest.mark.parametrize(
    "path", ["fvuu", "ce.recoverd", "shrinkage.0.51", "truth.learned.mmsc", "l0.mean", "ce.clean.x"]
)
def test_a_misspelt_path_is_named_also_where_nothing_was_measured(entry: Dictionary, path: str) -> None:
    for found in (entry, entry.but(ce=None, shrinkage=None, truth=None, l0=None)):
        with pytest.raises(UndeclaredKey, match=path):
            measured(found, path)


def test_a_misspelt_key_is_named_however_it_is_asked_for(entry: Dictionary) -> None:
    for ask in (lambda: entry["fvuu"], lambda: entry.get("fvuu"), lambda: entry.get("fvuu", 1.0)):
        with pytest.raises(UndeclaredKey, match="Dictionary declares no key 'fvuu'"):
            ask()
    with pytest.raises(KeyError, match="fvuu"):
        measured({"fvu": 1.0}, "fvuu")


def test_what_was_not_measured_is_none_all_the_way(entry: Dictionary) -> None:
    bare = entry.but(ce=None)
    assert measured(bare, "ce.recovered") is None
    assert measured(entry, "ce.recovered") == entry["ce"]["recovered"] > 0
    assert measured(entry, "shrinkage.0.5") == 1.2
    assert measured(entry.but(options={"run": "a"}), "options.run") == "a"
    assert measured(entry.but(options={}), "options.run") is None  # which settings there are, the run decides


@pytest.mark.parametrize("metrics", [with_relations(sample_metrics(sizes=(16, 32, 64))), truth_metrics()])
def test_what_is_read_is_what_is_written(metrics: dict) -> None:
    found = typed(metrics)
    again = read_record(Metrics, to_json(found))
    assert again == found
    assert to_json(again) == to_json(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": None}, "d.path: expected a value of type str, found null"),
        ({"fvu": "0.5"}, "d.fvu: expected a number, found '0.5'"),
        ({"n_latents": 1.5}, "d.n_latents: expected a value of type int, found 1.5"),
        ({"ce": 1.0}, "d.ce: expected an object, found 1.0"),
        ({"sparsity": {"kk": 8}}, "unknown key d.sparsity.kk, expected k, l1_coefficient, l0_coefficient, noise"),
        ({"more": 1}, "unknown key d.more"),
    ],
)
def test_values_that_do_not_fit_are_named(entry: Dictionary, change: dict, said: str) -> None:
    with pytest.raises(SchemaError) as refused:
        read_record(Dictionary, to_json(entry) | change, "d")
    assert str(refused.value) == said


def test_items_of_lists_are_looked_at_too():
    @record
    class Curve(Record):
        points: list[int | float | None]
        names: list[str]
        grid: list[list[float]]
        counts: list[int]

    good = {"points": [1, 2.5, None], "names": ["a"], "grid": [[1.0], [2]], "counts": [3]}
    assert read_record(Curve, good) == good
    for wrong, said in (
        ({"points": [1, "2"]}, r"points\[1\]: expected a number or null, found '2'"),
        ({"names": ["a", None]}, r"names\[1\]: expected a value of type str, found null"),
        ({"grid": [[1.0], [None]]}, r"grid\[1\]\[0\]: expected a number, found null"),
        ({"grid": [1.0]}, r"grid\[0\]: expected a list, found 1\.0"),
        ({"counts": [1.5]}, r"counts\[0\]: expected an integer, found 1\.5"),
        ({"counts": [True]}, r"counts\[0\]: expected an integer, found True"),
    ):
        with pytest.raises(SchemaError, match=said):
            read_record(Curve, good | wrong)
