"""The section "Polytopes": every number is on the page with its control beside, and a verdict keeps both in view."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyze.format import NOT_MEASURED, count, decimal, percent, significant
from analyze.polytopes import NO_POLYTOPES, SCHEMAS, Polytopes, read_polytopes
from analyze.report.draw.interactive import plotly_figure
from analyze.report.page import render_page, report_sections
from analyze.report.section import Part
from analyze.report.sections.polytopes.section import polytopes_section
from tests.analyze.sample_polytopes import INPUTS, invented, write_results
from tests.analyze.typed import typed

# keys whose numbers are in a chart, or order things, and are in no table
DRAWN = {
    *("histogram", "rho_histogram", "scatter", "points", "of_row", "files", "label", "cluster", "sequence"),
    *("position", "layers", "layer", "factors", "sharpness", "edges", "centres"),
}
QUANTILES = {"mean", "min", "q25", "q75", "max"}  # shown is the median, with the 5 and 95 % quantiles


def part_of(name: str, folder: Path, results: Any = None) -> Part:
    write_results(folder, name, results)
    (part,) = polytopes_section(read_polytopes(folder, INPUTS)[0]).parts
    return part


def text_of(part: Part) -> str:
    cells = [
        text
        for table in part.tables
        for group, rows in table.groups.items()
        for text in (table.how_to_read, group, *(cell for row in rows for cell in row))
    ]
    quotes = [
        text
        for one in part.quotes
        for group, entries in one.groups.items()
        for text in (group, *(entry.label for entry in entries))
    ]
    return "\n".join([*cells, *quotes, part.verdict])


def numbers(value: Any, name: str, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            spread = {"q05", "median", "q95"} <= value.keys() and key in QUANTILES
            listed = isinstance(inner, list) and inner and isinstance(inner[0], dict)
            drawn = (key in DRAWN and not listed) or (
                name == "scaling" and place[-1:] in (("scaled",), ("random",), ("about_mean",))
            )
            if not spread and not drawn:
                yield from numbers(inner, name, (*place, key))
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, name, place)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value


def ways(place: tuple[str, ...], value: float) -> set[str]:
    found = {significant(value), significant(value, 2), decimal(value), decimal(value, 2), percent(value)}
    return found | ({count(value)} if value >= 1000 or {"crossings", "exact", "points"} & {*place} else set())


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_number_stands_in_a_table(name: str, tmp_path: Path) -> None:
    results = invented(name)
    text = text_of(part_of(name, tmp_path, results))
    found = [*numbers(results, name)]
    assert len(found) > 20
    missing = [(place, value) for place, value in found if not any(way in text for way in ways(place, value))]
    shares = {"stored", "multiplications"}  # shown as a share of the layer's
    assert [one for one in missing if not shares & set(one[0])] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_part_has_pictures_with_a_sentence_and_a_verdict(name: str, tmp_path: Path) -> None:
    part = part_of(name, tmp_path)
    assert part.name == f"polytopes-{name}"
    assert part.charts
    assert all(chart.how_to_read.endswith(".") for chart in part.charts)
    assert part.verdict.endswith(".")
    for chart in part.charts:
        for panel in chart.panels:
            assert plotly_figure(panel, chart.colours())["data"]  # pyright: ignore[reportArgumentType]


def test_codes_stand_beside_the_twins(tmp_path: Path) -> None:
    results = invented("codes")
    row = part_of("codes", tmp_path, results).tables[0].groups[""][0]
    own, twin = results["layers"][0], results["untrained"][0]
    assert row[1:3] == (decimal(own["bits"]), decimal(twin["bits"]))
    assert row[3:5] == (percent(own["undecided"]), percent(twin["undecided"]))
    assert row[-3:-1] == (significant(own["hard_fvu"]), significant(twin["hard_fvu"]))


def test_clusters_stand_above_the_twins_and_those_of_gaussian_rows(tmp_path: Path) -> None:
    results = invented("clusters")
    table = part_of("clusters", tmp_path, results).tables[0]
    rows = next(iter(table.groups.values()))
    assert [row[0] for row in rows] == ["model", "untrained twin", "Gaussian rows"]
    controls = results["tables"][0]["controls"]
    for row, one in zip(rows, (results["tables"][0], controls["untrained"], controls["gaussian"]), strict=True):
        assert row[7] == f"{decimal(one['beyond']['gain'])} (z = {significant(one['beyond']['z'])})"


def with_z(own: float, twin: float, token: float = 50) -> dict[str, Any]:
    results = invented("clusters")
    for table in results["tables"]:
        table["beyond"]["z"] = own
        table["controls"]["untrained"]["beyond"]["z"] = twin
        table["controls"]["untrained"]["gain"]["token"]["z"] = token
        table["controls"]["gaussian"]["beyond"] = None
    return results


def test_the_verdict_on_clusters_keeps_the_controls_in_view(tmp_path: Path) -> None:
    said = part_of("clusters", tmp_path, with_z(21, -1)).verdict
    assert "Clusters say more than which token it is at name 0 (z = 21; twin -1; Gaussian rows none, no cluster" in said
    assert "Token purity alone is no evidence: an untrained twin has" in said
    assert "a control says as much" not in said
    said = part_of("clusters", tmp_path, with_z(21, 12)).verdict
    assert "At name 0 and name 1 a control says as much, so it is no evidence there." in said
    said = part_of("clusters", tmp_path, with_z(0.4, -1, token=1)).verdict
    assert "They say which token it is, and nothing more, at name 0 (z = 0.4" in said
    assert "Token purity" not in said


def interval(value: float, width: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": value + width}


def with_ratios(ratio: float, permuted: float, gaussian: float) -> dict[str, Any]:
    results = invented("density")
    for label in results["labels"]:
        for layer in label["layers"]:
            crossings = layer["crossings"]
            for kind, value in (("ratio", ratio), ("permuted", permuted), ("untrained", 1.0), ("gaussian", gaussian)):
                crossings[kind] |= interval(value)
    return results


def test_the_verdict_on_density_names_a_control_that_is_above_1(tmp_path: Path) -> None:
    said = part_of("density", tmp_path, with_ratios(1.08, 1.0, 1.0)).verdict
    assert "denser between labels than within one in layers 0 and 1: 1.08 at equal lengths" in said
    assert "(permuted labels 1.00, untrained twin 1.00)" in said
    assert "rather than" not in said
    said = part_of("density", tmp_path, with_ratios(1.08, 1.06, 1.0)).verdict
    assert "in no layer" in said
    assert "In layers 0 and 1 a control is above 1, too: no evidence there." in said
    said = part_of("density", tmp_path, with_ratios(1.08, 1.0, 1.08)).verdict
    assert "there lines of one label are sparser, rather than those between labels denser" in said


@pytest.mark.parametrize(
    ("per_path", "words"),
    [(1.0, "as many, so they do what any step does"), (1.5, "more, so they seek"), (0.5, "fewer, so boundaries are")],
)
def test_adversaries_are_judged_per_path(per_path: float, words: str, tmp_path: Path) -> None:
    results = invented("adversaries")
    for table in results["tables"]:
        table["ratios"]["random_at_path"]["per_path"] = interval(per_path)
    assert words in part_of("adversaries", tmp_path, results).verdict


def test_a_minimum_that_is_not_at_1_is_mistrusted(tmp_path: Path) -> None:
    results = invented("codes")
    for one, added in zip(results["loss"]["curve"], (0.4, 0.0, 0.3), strict=True):
        one["added"] = added
    assert "minimum is at η = 1, as it must be" in part_of("codes", tmp_path, results).verdict
    results["loss"]["curve"][2]["added"] = -0.1
    assert "minimum is at η = ∞, not at 1: mistrust" in part_of("codes", tmp_path, results).verdict


def test_a_shell_that_isotropic_rays_show_is_not_the_datas(tmp_path: Path) -> None:
    results = invented("radius")
    for layer in results["layers"]:
        rays = layer["spaces"]["residual"]
        rays["data"]["density"] = rays["isotropic"]["density"] = [1, 9, 2]
    assert (
        "isotropic rays have the same shell: it is the weights' geometry"
        in part_of("radius", tmp_path, results).verdict
    )
    for layer in results["layers"]:
        layer["spaces"]["residual"]["isotropic"] = {"density": [3, 2, 1], "error": [0.1, 0.1, 0.1]}
        layer["spaces"]["residual"]["data"]["error"] = [0.1, 0.1, 0.1]
    assert "rays towards rows are denser there than isotropic ones" in part_of("radius", tmp_path, results).verdict
    for layer in results["layers"]:
        layer["spaces"]["residual"]["data"]["density"] = [9, 2, 1]
    assert part_of("radius", tmp_path, results).verdict.startswith("No shell in the residual stream")


def test_null_with_a_reason_shows_the_reason(tmp_path: Path) -> None:
    part = part_of("maps", tmp_path, {"reason": "maps are quadratic given the code", "layers": None, "untrained": None})
    assert part.verdict == "Not measured: maps are quadratic given the code."
    assert not part.charts
    assert not part.tables


def test_what_gated_layers_lack_is_a_dash(tmp_path: Path) -> None:
    codes, regions = invented("codes"), invented("regions")
    for layer in [*codes["layers"], *codes["untrained"]]:
        layer["hard_fvu"] = None
    for layer in regions["layers"]:
        layer["hard_code"] = layer["curves"]["shared_code"] = None
    assert part_of("codes", tmp_path / "codes", codes).tables[0].groups[""][0][-3:-1] == (NOT_MEASURED, NOT_MEASURED)
    row = next(iter(part_of("regions", tmp_path / "regions", regions).tables[0].groups.values()))[0]
    assert (row[4], row[9]) == (NOT_MEASURED, NOT_MEASURED)


@pytest.mark.parametrize("name", ["codes", "maps", "radius"])
def test_without_a_twin_the_model_is_shown_alone(name: str, tmp_path: Path) -> None:
    part = part_of(name, tmp_path, {**invented(name), "untrained": None})
    assert "twin" not in " ".join(group for table in part.tables for group in table.groups)
    assert part.charts


def test_a_missing_experiment_leaves_only_its_part_out(tmp_path: Path) -> None:
    for name in SCHEMAS:
        write_results(tmp_path, name)
    every = [part.name for part in polytopes_section(read_polytopes(tmp_path, INPUTS)[0]).parts]
    assert every == [f"polytopes-{name}" for name in SCHEMAS]
    (tmp_path / "maps.json").unlink()
    left = [part.name for part in polytopes_section(read_polytopes(tmp_path, INPUTS)[0]).parts]
    assert left == [name for name in every if name != "polytopes-maps"]


def test_the_section_stands_only_where_there_are_polytopes(tmp_path: Path) -> None:
    assert [section.name for section in report_sections(typed({}), NO_POLYTOPES)].count("polytopes") == 0
    page = render_page({}, report_sections(typed({}), everything(tmp_path)))
    assert '<a href="#polytopes">Polytopes</a>' in page
    assert all(f'<section class="part" id="polytopes-{name}">' in page for name in SCHEMAS)
    assert "a <mark>&lt;b&gt;</mark>↵ d" in page


def test_names_of_charts_are_theirs_alone(tmp_path: Path) -> None:
    (section,) = (s for s in report_sections(typed({}), everything(tmp_path)) if s.name == "polytopes")
    names = [chart.name for chart in section.all_charts]
    assert len(names) == len(set(names))
    assert all(name.startswith("polytopes-") for name in names)


def everything(folder: Path) -> Polytopes:
    for name in SCHEMAS:
        write_results(folder, name)
    return read_polytopes(folder, INPUTS)[0]
