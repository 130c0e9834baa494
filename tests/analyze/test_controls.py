"""Controls are measured and shown beside what they are controls for, and compared with nothing else."""

import pytest

from analyze.collect.controls import twin_of
from analyze.collect.dictionaries import options, sparsity
from analyze.features.choice import choose
from analyze.report.page import report_sections
from analyze.report.sections.controls import control_tables
from analyze.schema.file import read_metrics
from analyze.stage import measure_run
from tests.analyze.miniature import HOOK, add_dictionary, read
from tests.experiments import ROOT

CONTROLS = ("frozen_decoder", "gaussian_rows")


@pytest.mark.usefixtures("bare_page")
def test_controls_are_measured_and_left_out_of_every_comparison(experiment, capsys) -> None:
    run = ROOT / experiment.run
    measure_run(experiment)
    alone = read(experiment)
    assert alone["controls"] == []
    for control in CONTROLS:
        add_dictionary(run, 48, control=control)
    add_dictionary(run, 96, seed=7, control="frozen_encoder")  # whose twin was not trained
    capsys.readouterr()
    measure_run(experiment)
    found = read(experiment)
    assert "frozen" not in capsys.readouterr().out
    marked = {d["path"].rpartition("/")[2]: d["control"] for d in found["dictionaries"]}
    assert marked == {
        "topk-48-k8-seed0": None,
        "topk-96-k8-seed0": None,
        "topk-48-k8-frozen_decoder-seed0": "frozen_decoder",
        "topk-48-k8-gaussian_rows-seed0": "gaussian_rows",
        "topk-96-k8-frozen_encoder-seed7": "frozen_encoder",
    }
    for key in ("pairs", "ceilings", "families", "lineages", "choosing", "groups", "differences", "stopping"):
        assert found[key] == alone[key], key
    small, large = (f"dictionaries/{HOOK}/topk-{n}-k8-seed0" for n in (48, 96))
    ends = [(one["from"], one["to"].rpartition("/")[2], one["control"]) for one in found["controls"]]
    assert ends == [
        (source, f"topk-48-k8-{control}-seed0", control) for control in CONTROLS for source in (small, large)
    ]
    for one in found["controls"]:  # two dictionaries of random directions: chance, and nothing more
        assert 0 < one["mmcs"] < 1
        assert one["mmcs_corrected"] == pytest.approx(0, abs=0.1)
        assert one["shared_fraction"] < 0.1
    everything = read_metrics(run / "report" / "metrics.json")
    assert everything is not None
    chosen = [d["path"] for d in choose(["all"], everything)]
    assert chosen == [small, large]
    named = choose(["topk-48-k8-gaussian_rows-seed0"], everything)
    assert [d["control"] for d in named] == ["gaussian_rows"]
    quality = next(s for s in report_sections(everything) if s.name == "quality")
    tables = {table.title: table for table in quality.tables}
    (beside,) = tables["Controls"].groups.values()
    assert [row[0] for row in beside] == ["trained", "frozen decoder", "on Gaussian rows"]
    (looked_up,) = tables["Directions looked up in controls"].groups.values()
    assert [row[0] for row in looked_up] == [
        *("48 → frozen decoder", "48 → on Gaussian rows"),
        *("96 → trained", "96 → frozen decoder", "96 → on Gaussian rows"),
    ]
    assert sum(map(len, tables["Dictionaries"].groups.values())) == 2


def test_without_controls_there_is_no_table() -> None:
    assert control_tables({"dictionaries": [{"path": "a", "control": None}], "controls": []}, {}) == []


def test_a_twin_shares_all_but_the_options() -> None:
    one = {"hook": "h", "architecture": "relu", "n_latents": 8, "sparsity": {"noise": 0.5}, "seed": 1, "control": None}
    control = one | {"control": "frozen_decoder"}
    assert twin_of(control, [control, one | {"seed": 2}, one]) is one
    assert twin_of(control, [control, one | {"n_latents": 16}]) is None


def test_noise_is_the_sparsity_where_there_is_no_penalty() -> None:
    settings = {"architecture": "relu", "n_latents": 8, "l1_coefficient": 0.0, "noise": 0.5, "seed": 0}
    assert sparsity(settings) == {"noise": 0.5}
    assert sparsity({"l1_coefficient": 2.0, "noise": None}) == {"l1_coefficient": 2.0}
    assert "noise" not in options(settings)
    assert options(settings | {"control": "gaussian_rows"})["control"] == "gaussian_rows"
