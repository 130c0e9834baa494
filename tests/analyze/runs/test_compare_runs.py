"""Several runs in one report."""

import json
import shutil
from pathlib import Path

import pytest

from analyze.collect import comparisons
from analyze.evaluation import text
from analyze.report.sections.overview import overview_section
from analyze.runs.compare_runs import compare_runs
from analyze.runs.paired_runs import counterparts
from analyze.schema.record import read_record
from analyze.schema.report import Metrics
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.analyze.miniature import HOOK, add_dictionary, read
from tests.experiments import load, write_text
from winnow.errors import UserError

pytestmark = pytest.mark.usefixtures("bare_page")


@pytest.fixture
def other(experiment, harvested):
    """Another run on the same activations, with a dictionary of another seed."""
    path = Path(experiment.run).with_name("other")
    shutil.copytree(harvested.parent / "run", path)
    add_dictionary(path, 96, seed=1)
    return str(path)


@pytest.fixture
def counted(monkeypatch):
    """Lists of what is measured and compared from now on: sizes of dictionaries, and of pairs."""
    measured, pairs = [], []
    evaluate, compare = text.evaluate, comparisons.compare
    monkeypatch.setattr(text, "evaluate", lambda *a: measured.extend(d.n_latents for d in a[3]) or evaluate(*a))
    monkeypatch.setattr(
        comparisons, "compare", lambda a, b: pairs.append((len(a.decoder), len(b.decoder))) or compare(a, b)
    )
    return measured, pairs


def test_dictionaries_of_both_runs_are_in_one_report_each_with_its_counterpart(experiment, other, capsys):
    compare_runs(experiment, [experiment.run, other])
    found = read(experiment, "comparison")
    theirs = f"../other/dictionaries/{HOOK}/topk-96-k8-seed1"
    own = [f"dictionaries/{HOOK}/topk-{n}-k8-seed0" for n in (48, 96)]
    assert [d["path"] for d in found["dictionaries"]] == [*own, theirs]
    assert [d["options"] for d in found["dictionaries"]] == [{"run": experiment.run}] * 2 + [{"run": other}]
    assert [run["compared"] for run in found["runs"]] == [True, True]
    ends = [(pair["from"], pair["to"]) for pair in found["pairs"]]
    assert ends[:2] == [tuple(own), tuple(own[::-1])]
    assert set(ends[2:]) == {(own[0], theirs), (theirs, own[0]), (own[1], theirs), (theirs, own[1])}
    folder = Path(experiment.run) / "comparison"
    alone = read(experiment)["pairs"][0]
    assert found["pairs"][0] == alone | {"features_csv": f"../report/{alone['features_csv']}"}
    tables = [(folder / pair["features_csv"]).resolve() for pair in found["pairs"]]
    assert len({table for table in tables if table.is_file()}) == 6
    assert set(tables[2:]) == set((folder / "pairs").resolve().iterdir())
    assert found["pairs"][-1]["mmcs"] > 0
    assert "comparison/index.html" in capsys.readouterr().out.replace("\n", "")
    assert [d["path"] for d in read(experiment)["dictionaries"]] == own  # its own report stays its own


def test_a_new_dictionary_adds_to_the_comparison_and_nothing_else_is_done_again(experiment, other, counted, capsys):
    measured, pairs = counted
    compare_runs(experiment, [other])
    assert sorted(measured) == [48, 96, 96]
    assert sorted(pairs) == [(48, 96), (48, 96), (96, 96)]
    first = read(experiment, "comparison")
    measured.clear()
    pairs.clear()
    add_dictionary(Path(other), 192, seed=1)
    compare_runs(experiment, [other])
    assert measured == [192]
    assert sorted(pairs) == [(96, 192), (96, 192)]  # the next size of its own run, and its counterpart
    second = read(experiment, "comparison")
    assert all(entry in second["dictionaries"] for entry in first["dictionaries"])
    assert all(pair in second["pairs"] for pair in first["pairs"])
    measured.clear()
    pairs.clear()
    capsys.readouterr()
    compare_runs(experiment, [other])
    assert (measured, pairs) == ([], [])
    assert "these 2 runs are compared; nothing to do" in capsys.readouterr().out


def test_runs_on_different_texts_stand_side_by_side_with_the_reason(experiment, harvested, tmp_path):
    write_text(tmp_path / "text")
    (tmp_path / "text" / "00.txt").write_text("another text " * 99)
    other = str(tmp_path / "other")
    settings = load(harvested, "--run", other, "--text.source", f"files:{tmp_path}/text/*.txt")
    make_tokens(settings)
    harvest(settings)
    add_dictionary(Path(other), 96, seed=1)
    compare_runs(experiment, [other])
    found = read(experiment, "comparison")
    assert found["runs"][1]["compared"] is False
    assert found["runs"][1]["reason"] == f"the text differs from that of {experiment.run}"
    assert len(found["dictionaries"]) == 3
    assert len(found["pairs"]) == 2  # of the configured run's own two
    told = f"{other}: not compared, the text differs from that of {experiment.run}"
    assert ("Beside it", told) in overview_section(read_record(Metrics, found)).facts


@pytest.mark.parametrize("version", [1, 2])
def test_a_report_of_an_older_version_is_not_measured_anew_and_the_remedy_is_named(experiment, other, counted, version):
    path = Path(other) / "report" / "metrics.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"version": version}))
    with pytest.raises(UserError) as refused:
        compare_runs(experiment, [other])
    remedy = f"run python -m analyze --config {other}/config.toml --run {other} first"
    assert str(refused.value) == f"{path}: a report of version {version}, expected version 3; {remedy}"
    assert sorted(counted[0]) == [48, 96]  # the configured run alone


def test_a_folder_that_is_no_run_is_named(experiment, tmp_path):
    with pytest.raises(UserError, match=r"--runs: .*nowhere/config.toml: no such file; .*nowhere is no run"):
        compare_runs(experiment, [str(tmp_path / "nowhere")])


def test_counterparts_are_nearest_in_size_then_kind_then_sparsity_then_seed():
    def entry(path, n, l0=8.0, architecture="topk", seed=0, hook="x"):
        kind = {"hook": hook, "architecture": architecture, "options": {"run": path[0]}, "seed": seed}
        return {"path": path, "n_latents": n, "l0": l0, **kind}

    a = [entry("a-64", 64), entry("a-256", 256, seed=1), entry("a-y", 64, hook="y")]
    b = [
        entry("b-64-relu", 64, architecture="relu"),
        entry("b-64-dense", 64, l0=20.0),
        entry("b-64-seed1", 64, l0=8.5, seed=1),
        entry("b-64-seed0", 64, l0=8.5),
        entry("b-512", 512),
    ]
    found = [(x["path"], y["path"]) for x, y in counterparts(a, b)]
    assert found[:2] == [("a-64", "b-64-seed0"), ("a-256", "b-512")]
    assert set(found[2:]) == {("a-64", path) for path in ("b-64-relu", "b-64-dense", "b-64-seed1")}
    assert counterparts(a, a[2:])[-1][0]["path"] == "a-y"
    assert counterparts(a, []) == []
