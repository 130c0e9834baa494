"""The tour runs on what `make demo` left, and what is committed of it is what ran."""

import json
import re
from collections.abc import Sequence
from typing import Any

import nbformat
import pytest

from tests.experiments import ROOT
from tests.tour import RAN, TOUR, code_cells, code_hash, execute

METRICS = ROOT / "runs" / "demo" / "report" / "metrics.json"
NUMBER = re.compile(r"\d+\.\d+|\d+")


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture(scope="module")
def ran() -> Any:
    if not METRICS.exists():
        pytest.skip("no runs/demo/report: run make demo first")
    return execute()


def outputs(notebook: Any) -> list[list[tuple[str, Sequence[str]]]]:
    """The kinds of output of each cell."""
    kinds = [[(o.output_type, sorted(o.get("data", {}))) for o in cell.outputs] for cell in code_cells(notebook)]
    return [[(kind, [*names, *(["stdout"] if kind == "stream" else [])]) for kind, names in cell] for cell in kinds]


def output_of(notebook: Any, code: str) -> str:
    """The text that the one cell with `code` in it gave."""
    [cell] = [cell for cell in code_cells(notebook) if code in cell.source]
    return "\n".join(o.get("text") or o["data"]["text/plain"] for o in cell.outputs)


def rows(table: str) -> list[list[float]]:
    """The numbers of each line of a table or text."""
    return [[float(number) for number in NUMBER.findall(line)] for line in table.splitlines()]


def test_the_committed_outputs_are_of_the_committed_code(committed: Any):
    assert committed.metadata[RAN] == code_hash(committed), "the code was changed since: python -m tests.tour"
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(o.get("name") != "stderr" and o.output_type != "error" for cell in cells for o in cell.outputs)
    assert TOUR.stat().st_size < 500_000


def test_the_committed_notebook_shows_tables_and_pictures(committed: Any):
    names = [name for cell in outputs(committed) for _, kinds in cell for name in kinds]
    assert names.count("image/png") == 3
    assert names.count("text/html") >= 6


@pytest.mark.slow
def test_every_cell_runs_and_gives_what_is_committed(ran: Any, committed: Any):
    assert outputs(ran) == outputs(committed)


@pytest.mark.slow
def test_the_quality_shown_is_that_of_the_report(ran: Any):
    entries = [e for e in json.loads(METRICS.read_text())["dictionaries"] if e["hook"] == "blocks.2.hook_resid_post"]
    entries.sort(key=lambda entry: (entry["architecture"], entry["n_latents"]))
    shown = rows(output_of(ran, "def quality"))[1:]
    assert len(shown) == len(entries) >= 6
    for (_, n_latents, l0, fvu), entry in zip(shown, entries, strict=True):
        assert n_latents == entry["n_latents"]
        assert l0 == pytest.approx(entry["l0"], abs=0.06)
        assert fvu == pytest.approx(entry["fvu"], abs=6e-4)


@pytest.mark.slow
def test_every_token_has_its_features(ran: Any):
    table = output_of(ran, "strongest = ")
    for word in ("If", "·file", "·ValueError", "·raised"):
        assert re.search(rf"^{word} +\d+: .* → .* \(\d+\)", table, re.MULTILINE), table


@pytest.mark.slow
def test_mmcs_stands_beside_its_chance_level(ran: Any):
    for _, _, mmcs, chance, corrected, shared in rows(output_of(ran, "def row(found)"))[1:]:
        assert 0 < chance < mmcs < 1
        assert corrected == pytest.approx((mmcs - chance) / (1 - chance), abs=2e-3)
        assert 0 <= shared <= 1


@pytest.mark.slow
def test_patches_change_what_the_running_model_says(ran: Any):
    clean, small, large, zeros = (row[-1] for row in rows(output_of(ran, "def replace_by")))
    assert clean < large < small < zeros
    said, *table = output_of(ran, "leave_one_out").splitlines()
    [before, _] = NUMBER.findall(said)
    shown = [line.split()[-2:] for line in table if line[:1].isdigit()]
    assert len(shown) == 6
    for lost, after in shown:
        assert float(lost) > 0
        assert float(after) < float(before)
    probabilities = [row[2] for row in rows(output_of(ran, "def steer"))[-4:]]
    assert probabilities == sorted(probabilities)
    assert probabilities[-1] > 3 * probabilities[0]
