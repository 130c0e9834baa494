"""The report is a pure function of the metrics, leaves out what was not measured, and says nothing it should not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from analyze.ladders import ladder_of, with_telling_options
from analyze.report.draw.chart import FamilyTree, HeatMap, Panel
from analyze.report.draw.files import FORMATS
from analyze.report.draw.interactive import plotly_figure
from analyze.report.draw.small import small_figure
from analyze.report.page import render_page, report_sections, write_report
from analyze.report.sections.overview import overview_section
from analyze.report.sections.training import still_learning, training_section
from tests.analyze.sample import COSINE_EDGES, EVALUATION_ROWS, RESIDUAL, TOPK, chance_counts, sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.typed import typed


def small_metrics() -> dict[str, Any]:
    """One ladder of two sizes, and one hook: every kind of figure once, for a figure takes half a second to write."""
    metrics = sample_metrics(sizes=(16, 32), architectures=(TOPK,), hooks=(RESIDUAL,))
    return with_relations(metrics | {"activations": metrics["activations"][:1]})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(typed(small_metrics()), tmp_path_factory.mktemp("report"))


def chart_names(metrics: dict[str, Any]) -> list[str]:
    return [chart.name for section in report_sections(typed(metrics)) for chart in section.charts]


def test_every_figure_is_there_in_every_format_and_nothing_else(report: Path) -> None:
    names = chart_names(small_metrics())
    assert len(names) == len(set(names))
    files = sorted(file.name for file in (report.parent / "figures").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in names for kind in FORMATS)
    assert all(f'href="figures/{file}"' in report.read_text(encoding="utf-8") for file in files)


def test_equal_metrics_give_equal_bytes(report: Path, tmp_path: Path) -> None:
    again = write_report(typed(small_metrics()), tmp_path)
    for file in [report, *(report.parent / "figures").iterdir()]:
        assert file.read_bytes() == (again.parent / file.relative_to(report.parent)).read_bytes(), file.name


def test_figures_of_an_earlier_report_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "old.svg").write_text("old")
    (figures / "notes.txt").write_text("mine")
    (tmp_path / "metrics.json").write_text("{}")
    assert write_report(typed({}), tmp_path) == tmp_path / "index.html"
    assert [file.name for file in figures.iterdir()] == ["notes.txt"]
    assert (tmp_path / "metrics.json").exists()


def test_page_needs_nothing_from_a_network(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)  # plotly's code names its project's address
    assert not re.findall(r"(?:src|href)=\"(?!#|figures/|data:)[^\"]*", own)
    assert "http" not in own
    assert "@import" not in own
    assert "url(" not in own


def test_names_are_escaped_wherever_they_stand() -> None:
    metrics = sample_metrics(sizes=(16, 32), architectures=(TOPK,), hooks=("</script><img src=x onerror=bad()>",))
    metrics["run"]["path"] = metrics["run"]["model"] = "<img src=y onerror=bad()>"
    metrics["activations"][0]["hook"] = "<img src=z onerror=bad()>"
    page = render_page(metrics, report_sections(typed(metrics)))
    assert "<img" not in page.replace(r"\u003c", "<").split("plotly.js v")[0].replace("&lt;img", "")
    assert "&lt;img" in page


@pytest.mark.parametrize(
    "part",
    [
        *("run", "evaluation", "dictionaries.sparsity", "dictionaries.l0", "dictionaries.l0_quantiles"),
        *("dictionaries.fvu", "dictionaries.fvu_uncentred", "dictionaries.density", "dictionaries.ce"),
        *("dictionaries.curve", "dictionaries.dead_fraction", "dictionaries.alive_fraction", "dictionaries.seed"),
        *("dictionaries.rows", "pairs", "pairs.mmcs", "pairs.mmcs_null", "pairs.mmcs_corrected"),
        *("pairs.matched_mean", "pairs.shared_fraction", "pairs.max_cosines", "activations"),
        *("activations.kind", "activations.histogram", "activations.kurtosis", "activations.variance"),
        *("activations.mean", "activations.norms", "activations.position_norms", "activations.outlier_dimensions"),
        *("activations.zeros", "activations.mean_norm", "activations.width", "activations.rows"),
        *("activations.fits", "activations.spectrum", "activations.privileged_basis", "activations.toy"),
        *("dictionaries.baselines", "dictionaries.shrinkage", "dictionaries.convergence", "dictionaries.snapshots"),
        *("dictionaries.toy", "dictionaries.options", "ceilings", "families", "lineages", "choosing"),
        *("pairs.above_chance", "pairs.mmcs_null_isotropic", "pairs.matched_above_0.9", "pairs.scale_aware"),
        *("pairs.recovery", "pairs.by_firing_rate", "pairs.diagnosis", "pairs.functional", "pairs.stitching"),
        *("pairs.meta", "pairs.subspaces"),
    ],
)
def test_what_was_not_measured_is_left_out(part: str) -> None:
    metrics = small_metrics()
    whole = set(chart_names(metrics))
    first, _, key = part.partition(".")
    for record in metrics[first] if key else [metrics]:
        record[key or first] = None
    sections = report_sections(typed(metrics))
    page = render_page(metrics, sections).split("plotly.js v")[0]
    assert {chart.name for section in sections for chart in section.charts} <= whole
    assert not re.search(r"\b(None|nan|Undefined)\b", page)


def test_empty_metrics_make_an_empty_report() -> None:
    assert report_sections(typed({})) == []


def test_many_dictionaries_show_one_setting_at_a_time() -> None:
    metrics = sample_metrics(sizes=(16, 32, 64, 128, 256), seeds=(0, 1, 2))
    assert len(metrics["dictionaries"]) == 60
    page = render_page(metrics, report_sections(typed(metrics)))
    shown = re.findall(r'<figure class="chart" id="([a-z0-9-]+)">', page)
    hidden = re.findall(r'<figure class="chart" id="([a-z0-9-]+)" hidden>', page)
    assert sorted(shown + hidden) == sorted(chart_names(metrics))
    assert len(shown) < 20 < len(hidden)
    assert set(re.findall(r'<option value="([a-z0-9-]+)">', page)) >= set(hidden)


def test_every_chart_says_how_to_read_it_in_one_sentence() -> None:
    for section in report_sections(typed(small_metrics())):
        for item in (*section.charts, *section.tables):
            assert item.how_to_read.endswith(".")
            assert len(item.how_to_read) > 40


def caveats(change: Callable[[dict[str, Any]], None]) -> list[str]:
    """Return the caveats' first words after a change to metrics that are fine but for their single seed."""
    metrics = small_metrics()
    for dictionary in metrics["dictionaries"]:
        dictionary["dead_fraction"] = 0.0
        dictionary["l0"] = 10.0
        del dictionary["convergence"]
    change(metrics)
    return [caveat.label.split(":")[0] for caveat in overview_section(typed(metrics)).caveats]


def test_caveats_name_what_makes_a_comparison_doubtful() -> None:
    assert caveats(lambda m: None) == ["No ceiling"]
    assert caveats(lambda m: m["dictionaries"][0].update(l0=13.0)) == ["Different sparsity", "No ceiling"]
    assert caveats(lambda m: m["dictionaries"][0].update(dead_fraction=0.2)) == ["Dead latents", "No ceiling"]
    assert caveats(lambda m: m["pairs"][0].update(mmcs_corrected=-0.1)) == ["At or below chance", "No ceiling"]
    falling = {"rows": list(range(1, 101)), "fvu": [1 / row for row in range(1, 101)], "loss": [], "l0": [], "dead": []}
    assert caveats(lambda m: m["dictionaries"][0].update(curve=falling)) == ["No ceiling"]
    assert caveats(lambda m: m.update(ceilings=m["pairs"])) == []
    assert caveats(lambda m: m["dictionaries"][0].update(convergence={"converged": False})) == [
        "Not converged",
        "No ceiling",
    ]
    assert caveats(lambda m: m["dictionaries"][0].update(baselines={"pca": 0.0})) == [
        "No better than PCA",
        "No ceiling",
    ]
    stalled = {"converged": False, "stalled": True}
    assert caveats(lambda m: m["dictionaries"][0].update(convergence=stalled)) == ["Stalled", "No ceiling"]
    threshold = {"architecture": "batchtopk", "sparsity": {"k": 10}}
    assert caveats(lambda m: m["dictionaries"][0].update(**threshold, l0=9.4)) == ["L0 is not k", "No ceiling"]
    assert caveats(lambda m: m["dictionaries"][0].update(**threshold, l0=9.6)) == ["No ceiling"]
    assert caveats(lambda m: m["run"].update(devices=["a GPU", "cpu"])) == ["Several kinds of device", "No ceiling"]
    assert caveats(lambda m: m["run"].update(devices=["cpu"])) == ["No ceiling"]


def test_a_comparison_without_a_score_is_not_at_chance() -> None:
    assert caveats(lambda m: m["pairs"][0].update(mmcs=None, mmcs_corrected=None)) == ["No ceiling"]


def test_names_tell_an_option_only_where_dictionaries_differ_in_it() -> None:
    metrics = sample_metrics(sizes=(16, 32), hooks=("h",))
    for i, d in enumerate(metrics["dictionaries"]):
        d["options"] = {"initialisation": "pca", "learning": 1 + i % 2}
    metrics["dictionaries"][0]["options"]["tied"] = True
    short = with_telling_options(typed(metrics)).dictionaries or []
    assert [d.options for d in short] == [
        {"learning": 1, "tied": True},
        *({"learning": 1 + i % 2} for i in range(1, 4)),
    ]
    assert ladder_of(short[0]).kind == "topk · learning 1 · tied True · k 32"
    nothing = {"dictionaries": [], "choosing": [], "groups": [], "activations": []}
    assert with_telling_options(typed({})) == {**typed({}), **nothing}


def test_only_the_trainers_verdict_says_whether_a_dictionary_had_converged() -> None:
    metrics = small_metrics()
    first, second, *rest = metrics["dictionaries"]
    first["convergence"] |= {"converged": False, "caveat": "slope -0.3 (at most ±0.05)"}
    second["convergence"] = None
    for dictionary in rest:
        dictionary["convergence"]["converged"] = True
    found = typed(metrics)
    section = training_section(found)
    assert [still_learning(d) for d in found["dictionaries"]] == [True, False, *[False] * len(rest)]
    assert f"1 of {2 + len(rest)} dictionaries carry no verdict" in section.paragraphs[-1]
    (table,) = (table for table in section.tables if table.title == "Had they converged?")
    cells = [cell for rows in table.groups.values() for row in rows for cell in row]
    assert "slope -0.3 (at most ±0.05)" in cells
    assert (cells.count("no"), cells.count("yes")) == (1, len(rest))
    first["convergence"] |= {"stalled": True, "caveat": "stalled: raise learning_rate"}
    found = typed(metrics)
    assert not still_learning(found["dictionaries"][0])
    (table,) = (table for table in training_section(found).tables if table.title == "Had they converged?")
    cells = [cell for rows in table.groups.values() for row in rows for cell in row]
    assert (cells.count("no"), cells.count("stalled")) == (0, 1)


def test_verdict_states_every_mmcs_with_its_chance_level() -> None:
    overview = overview_section(typed(sample_metrics()))
    sentences = [sentence for view in overview.views for sentence in view.verdict]
    assert any("MMCS" in sentence for sentence in sentences)
    for paragraph in (*overview.paragraphs, *sentences):
        assert paragraph.count("MMCS") == paragraph.count("chance") == paragraph.count("corrected")


def test_verdict_has_three_sentences_with_ceiling_and_convergence() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32), hooks=("h",), architectures=(TOPK,), seeds=(0, 1)))
    (view,) = overview_section(typed(metrics)).views
    good, similar, done = view.verdict
    best = min(metrics["dictionaries"], key=lambda d: d["fvu"])
    assert good.startswith(f"Best FVU {best['fvu']:.3f} at L0 {best['l0']:.3g} (PCA {best['baselines']['pca']:.3f})")
    ceiling = metrics["ceilings"][0]["mmcs_corrected"]
    assert f"(chance 0, ceiling {ceiling:.2f}" in similar
    assert done == "All 4 dictionaries had converged."
    metrics["dictionaries"][0]["convergence"] = {"converged": False}
    metrics["ceilings"] = []
    (view,) = overview_section(typed(metrics)).views
    assert view.verdict[1].endswith("(chance 0, ceiling unknown).")
    assert view.verdict[2] == "Not final: 1 of 4 dictionaries were still learning when training ended."
    metrics["dictionaries"][0]["convergence"] = {"converged": False, "stalled": True}
    (view,) = overview_section(typed(metrics)).views
    assert view.verdict[2] == "1 of 4 dictionaries have learned nothing: raise their learning rate."


def test_ceiling_of_one_size_stands_beside_the_score_of_that_size_alone() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32, 64), hooks=("h",), architectures=(TOPK,), seeds=(0, 1)))
    metrics["ceilings"] = [c for c in metrics["ceilings"] if "topk-32" in c["from"]]
    (view,) = overview_section(typed(metrics)).views
    up = [p["mmcs_corrected"] for p in metrics["pairs"] if "topk-32" in p["from"] and "topk-64" in p["to"]]
    ceiling = metrics["ceilings"][0]["mmcs_corrected"]
    expected = f"topk · k 32, 32 → 64: {sum(up) / len(up):.2f}, ceiling {ceiling:.2f} from a second seed)."
    assert view.verdict[1].endswith(expected)
    assert "like two seeds" not in view.verdict[1]


def test_small_charts_show_the_same_numbers_as_the_sections() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32), hooks=("h",), architectures=(TOPK,), seeds=(0, 1)))
    (view,) = overview_section(typed(metrics)).views
    fvu, mmcs, loss = (panel for panel in view.chart.panels if isinstance(panel, Panel))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    for place, size in enumerate((16, 32)):
        of_size = [d for d in metrics["dictionaries"] if d["n_latents"] == size]
        assert fvu.series[0].y[place] == pytest.approx(mean([d["fvu"] for d in of_size]))
        assert loss.series[0].y[place] == pytest.approx(mean([100 * d["ce"]["recovered"] for d in of_size]))
    up = [p["mmcs_corrected"] for p in metrics["pairs"] if "topk-16" in p["from"] and "topk-32" in p["to"]]
    drawn = {series.name: series for series in mmcs.series}
    assert drawn["topk · k 32"].y == [pytest.approx(mean(up))]
    assert drawn["ceiling"].y == [pytest.approx(metrics["ceilings"][0]["mmcs_corrected"])] * 2
    assert set(drawn["chance"].y) == {0}
    assert [s.name for s in fvu.series if s.reference] == ["PCA"]


def test_many_settings_are_told_apart_by_architecture() -> None:
    metrics = sample_metrics(sizes=(16, 32), hooks=("h",), architectures=(TOPK,))
    grid = [
        {**d, "path": f"{d['path']}-{k}", "sparsity": {"k": k}} for d in metrics["dictionaries"] for k in range(1, 9)
    ]
    (view,) = overview_section(typed({**metrics, "dictionaries": grid, "pairs": []})).views
    panel = view.chart.panels[0]
    assert isinstance(panel, Panel)
    assert [(s.name, len(s.y), s.mark) for s in panel.series if not s.reference] == [("topk", 16, "points")]


def test_sample_is_coherent() -> None:
    metrics = sample_metrics()
    by_path = {d["path"]: d for d in metrics["dictionaries"]}
    assert len(by_path) == len(metrics["dictionaries"]) == 12
    for d in by_path.values():
        assert sum(d["density"]["counts"]) + d["density"]["never"] == d["n_latents"]
        assert d["density"]["never"] / d["n_latents"] == pytest.approx(d["dead_fraction"])
        assert d["dead_fraction"] + d["alive_fraction"] <= 1
        assert list(d["l0_quantiles"].values()) == sorted(d["l0_quantiles"].values())
        ce = d["ce"]
        assert ce["recovered"] == pytest.approx((ce["zero"] - ce["patched"]) / (ce["zero"] - ce["clean"]))
        assert d["curve"]["rows"][-1] <= d["rows"]
    centres = (COSINE_EDGES[:-1] + COSINE_EDGES[1:]) / 2
    for pair in metrics["pairs"]:
        source, target = by_path[pair["from"]], by_path[pair["to"]]
        counts = np.array(pair["max_cosines"]["counts"])
        assert counts.sum() == round(source["alive_fraction"] * source["n_latents"])
        assert (counts * centres).sum() / counts.sum() == pytest.approx(pair["mmcs"], abs=0.01)
        expected = np.array(pair["max_cosines"]["null"])
        assert expected.sum() == pytest.approx(counts.sum(), rel=0.01)
        assert pair["mmcs_corrected"] == pytest.approx((pair["mmcs"] - pair["mmcs_null"]) / (1 - pair["mmcs_null"]))
        assert (pair["to"], pair["from"]) in {(p["from"], p["to"]) for p in metrics["pairs"]}
        assert source["hook"] == target["hook"]
    for hook in metrics["activations"]:
        density, edges = hook["histogram"]["density"], hook["histogram"]["edges"]
        assert (np.array(density) * np.diff(edges)).sum() == pytest.approx(1)
        assert all(len(hook[key]) == hook["width"] for key in ("mean", "variance", "kurtosis", "skewness"))
    assert metrics["evaluation"]["sequences"] * (metrics["run"]["context"] - 1) == EVALUATION_ROWS


def test_sample_chance_level_agrees_with_simulation() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((n, 128)) for n in (2000, 512))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    simulated = (a @ b.T).max(axis=1).mean()
    counts = chance_counts(2000, 512)
    centres = (COSINE_EDGES[:-1] + COSINE_EDGES[1:]) / 2
    assert (counts * centres).sum() / counts.sum() == pytest.approx(simulated, abs=0.005)


def test_maximal_cosines_below_zero_are_shown_where_there_are_any() -> None:
    metrics = small_metrics()
    first, second = metrics["pairs"]
    for pair, counts in ((first, [0, 1, 3]), (second, [1, 1, 2])):
        pair["max_cosines"] |= {"edges": [-1.0, -0.5, 0.5, 1.0], "counts": counts, "null": [0, 2, 2]}
    (chart,) = (c for section in report_sections(typed(metrics)) for c in section.charts if c.family == "max-cosines")
    assert [panel.x.range for panel in chart.panels if isinstance(panel, Panel)] == [(-0.5, 1), (-1.0, 1)]


def test_norms_by_position_are_logarithmic_only_where_one_hook_differs_much_between_positions() -> None:
    metrics = sample_metrics(sizes=(16, 32), architectures=(TOPK,))

    def is_logarithmic() -> list[bool]:
        charts = [chart for section in report_sections(typed(metrics)) for chart in section.charts]
        (chart,) = (chart for chart in charts if chart.name == "position-norms")
        return [panel.y.log for panel in chart.panels if isinstance(panel, Panel)]

    metrics["activations"][0]["position_norms"] = [1000.0, 1001.0]  # another hook's level is not a position's
    assert is_logarithmic() == [False, False]
    metrics["activations"][0]["position_norms"] = [1000.0, 10.0]
    assert is_logarithmic() == [True, True]


def test_diagonal_of_a_heat_map_holds_the_ceiling_and_no_other_cell_does() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32), hooks=("h",), architectures=(TOPK,), seeds=(0, 1)))
    charts = [chart for section in report_sections(typed(metrics)) for chart in section.charts]
    (chart,) = (chart for chart in charts if chart.family == "mmcs")
    for heat_map in chart.panels:
        assert isinstance(heat_map, HeatMap)
        marked = [[note.startswith("ceiling") for note in row] for row in heat_map.notes]
        assert marked == [[True, False], [False, True]]
        assert heat_map.values[0][0] == pytest.approx(metrics["ceilings"][0]["mmcs_corrected"])
    (lines,) = (chart for chart in charts if chart.family == "agreement")
    assert [series.name for series in lines.legend()][-1] == "same size, other seed: ceiling"


def test_plotly_knows_every_property_of_every_figure() -> None:
    metrics = with_relations(sample_metrics(sizes=(16, 32, 64), hooks=("h",), architectures=(TOPK,)))
    kinds = set()
    for section in report_sections(typed(metrics)):
        for chart in section.charts:
            for panel in chart.panels:
                if not isinstance(panel, FamilyTree):
                    figure = go.Figure(plotly_figure(panel, chart.colours()))  # raises where plotly does not
                    kinds |= {trace["type"] for trace in figure.to_plotly_json()["data"]}
    for view in overview_section(typed(metrics)).views:
        for panel in view.chart.panels:
            assert isinstance(panel, Panel)
            go.Figure(small_figure(panel, view.chart.colours()))
    assert kinds == {"scatter", "bar", "heatmap"}
