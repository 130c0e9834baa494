"""The table of a comparison: what is known of each single latent, against a naive computation in float64."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyze.collect import comparisons
from analyze.compare.decoder_null import DRAWS, draw_like
from analyze.compare.directions import Features, compare
from analyze.compare.latent_table import file_of
from analyze.report.page import render_page, report_sections
from analyze.stage import measure_run
from tests.analyze.miniature import HOOK, add_dictionary, read
from tests.analyze.planted import directions, orthogonal
from tests.analyze.sample import RESIDUAL, TOPK, sample_metrics
from tests.analyze.typed import typed


def table_of(text: str) -> list[dict[str, Any]]:
    """Read the lines, numbers as numbers and empty fields as None."""
    lines = csv.DictReader(text.splitlines())
    return [{name: float(value) if value else None for name, value in line.items()} for line in lines]


def features(decoder, alive=None, rates=None):
    one = torch.ones(len(decoder))
    return Features(decoder, decoder, one.bool() if alive is None else alive, one if rates is None else rates, one)


def tables(a, b):
    return [table_of(found.features.to_csv()) for found in compare(a, b)]


def test_every_column_is_what_a_naive_computation_gives():
    a, b = directions(12, d=16), directions(40, d=16, seed=1)
    b[30] = a[3]
    alive_a, alive_b = torch.arange(12) != 5, torch.arange(40) % 2 == 0
    rates = torch.linspace(0.01, 0.5, 12)
    forth, back = tables(features(a, alive_a, rates), features(b, alive_b))
    cosines = a.double() @ b.double().T
    cosines[:, ~alive_b] = -2
    assert [line["latent"] for line in forth] == [i for i in range(12) if i != 5]
    assert [line["latent"] for line in back] == list(range(0, 40, 2))
    for line in forth:
        row = cosines[int(line["latent"])]
        m = row.max().item()
        assert line["max_cosine"] == pytest.approx(m, abs=1e-6)
        assert line["nearest"] == row.argmax().item()
        assert line["r2_1"] == pytest.approx(m * m, abs=1e-5)
        assert line["r2_1"] - 1e-6 <= line["r2_4"] <= 1
        assert line["firing_rate"] == pytest.approx(rates[int(line["latent"])].item())
        assert line["match_cosine"] == pytest.approx(row[int(line["match"])].item(), abs=1e-6)
    assert forth[3]["nearest"] == forth[3]["match"] == 30
    assert len({line["match"] for line in forth}) == 11
    found = {line["latent"]: line["match"] for line in back if line["match"] is not None}
    assert found == {line["match"]: line["latent"] for line in forth}  # the others have no partner
    assert sum(line["match_cosine"] is None for line in back) == 20 - 11


@pytest.mark.parametrize("d", [16, 128])
def test_p_is_the_share_of_random_vectors_with_as_large_a_cosine(d):
    b, extra = directions(60, d=d), directions(60, d=d, seed=1)
    mixed = torch.cat([w * b + (1 - w) * extra for w in (0.0, 0.3, 0.6, 0.94)])
    forth = tables(features(mixed), features(b))[0]
    drawn = draw_like(mixed, DRAWS)
    largest = (drawn.double() @ b.double().T).amax(1)
    for line in forth:
        naive = (1 + int((largest >= line["max_cosine"]).sum())) / (1 + DRAWS)
        assert line["p"] == pytest.approx(naive, abs=2 / DRAWS)  # float32 may order a few differently
    assert min(line["p"] for line in forth) == pytest.approx(1 / (1 + DRAWS))


def test_participation_counts_the_directions_that_share_the_work():
    base = orthogonal(8)
    parts = torch.stack([base[0], base[1] + base[2], base[3] + base[4] + base[5], 2 * base[6] + base[7]])
    forth = tables(features(parts), features(base))[0]
    assert [line["participation"] for line in forth] == pytest.approx([1, 2, 3, 25 / 17], abs=1e-4)
    assert [line["r2_1"] for line in forth] == pytest.approx([1, 1 / 2, 1 / 3, 4 / 5], abs=1e-5)
    assert [line["r2_4"] for line in forth] == pytest.approx([1] * 4, abs=1e-5)


def test_the_shares_of_the_metrics_are_those_of_the_table():
    found = compare(features(directions(30)), features(directions(50, seed=1)))[0]
    lines = table_of(found.features.to_csv())
    assert np.mean([line["max_cosine"] for line in lines]) == pytest.approx(found.scores["mmcs"])
    assert np.mean([line["p"] < 0.01 for line in lines]) == pytest.approx(found.scores["above_chance"])
    assert np.mean([line["r2_4"] for line in lines]) == pytest.approx(found.scores["diagnosis"]["r2"][-1])
    for column, step in (("r2_1_random", 0), ("r2_4_random", -1)):
        expected = found.scores["diagnosis"]["random"]["r2"][step]
        assert np.mean([line[column] for line in lines]) == pytest.approx(expected)
    middle = np.median([line["participation"] for line in lines])
    assert middle == pytest.approx(found.scores["diagnosis"]["participation"]["0.5"])


def test_without_a_living_latent_on_the_other_side_fields_are_empty():
    none = torch.zeros(5, dtype=torch.bool)
    forth, back = tables(features(directions(3)), features(directions(5), none))
    assert back == []
    assert [line["latent"] for line in forth] == [0, 1, 2]
    for line in forth:
        assert {value for name, value in line.items() if name not in ("latent", "firing_rate")} == {None}


def test_names_are_safe_and_those_of_one_pair_alone():
    ends = ("../b c/dictionaries/blocks.0.hook/x", "dictionaries/blocks.0.hook/" + "y" * 300)
    name = file_of(ends, ("1", "2"))
    assert name.startswith("pairs/b_c_dictionaries_blocks.0.hook_x--y")
    assert name.count("/") == 1
    assert len(name) < 200
    others = [
        file_of((ends[1], ends[0]), ("2", "1")),
        file_of(ends, ("1", "3")),
        file_of((ends[0] + "y", ends[1]), ("1", "2")),
    ]
    assert len({name, *others}) == 4


def files_of(experiment):
    """The tables in the report of a run, and those that its metrics name."""
    report = Path(experiment.run) / "report"
    metrics = read(experiment)
    named = [report / score["features_csv"] for score in metrics["pairs"] + metrics["ceilings"]]
    return sorted((report / "pairs").iterdir()), sorted(named)


@pytest.mark.usefixtures("bare_page")
def test_tables_are_kept_made_anew_where_they_are_missing_and_removed_with_their_pair(experiment, monkeypatch, capsys):
    add_dictionary(Path(experiment.run), 192)
    add_dictionary(Path(experiment.run), 48, seed=1)
    measure_run(experiment)
    there, named = files_of(experiment)
    assert there == named
    assert len(there) == 6
    first, content = read(experiment), {path: path.read_bytes() for path in there}
    asked = []
    monkeypatch.setattr(
        comparisons, "compare", lambda a, b: asked.append((len(a.decoder), len(b.decoder))) or compare(a, b)
    )

    capsys.readouterr()
    (there[0].with_name("old.csv")).write_text("of a pair that is gone")
    measure_run(experiment)
    assert "nothing to do" in capsys.readouterr().out
    assert files_of(experiment) == (there, named)

    lost = Path(experiment.run) / "report" / first["pairs"][0]["features_csv"]
    lost.unlink()
    measure_run(experiment)
    assert asked == [(48, 96)]
    assert read(experiment) == first
    assert {path: path.read_bytes() for path in files_of(experiment)[0]} == content

    cfg = Path(experiment.run) / "dictionaries" / HOOK / "topk-192-k8-seed0" / "cfg.json"
    cfg.unlink()  # not finished any more
    measure_run(experiment)
    assert asked == [(48, 96)]
    there, named = files_of(experiment)
    assert there == named
    assert len(there) == 4
    assert {path: path.read_bytes() for path in there}.items() <= content.items()


@pytest.mark.usefixtures("bare_page")
def test_the_table_of_a_run_has_a_line_for_each_living_latent(experiment):
    measure_run(experiment)
    metrics = read(experiment)
    alive = {d["path"]: round(d["alive_fraction"] * d["n_latents"]) for d in metrics["dictionaries"]}
    for pair in metrics["pairs"]:
        lines = table_of((Path(experiment.run) / "report" / pair["features_csv"]).read_text())
        assert len(lines) == alive[pair["from"]] > 0
        assert all(a["latent"] < b["latent"] for a, b in pairwise(lines))
        assert all(0 < line["firing_rate"] <= 1 for line in lines)
        assert np.mean([line["max_cosine"] for line in lines]) == pytest.approx(pair["mmcs"], rel=1e-6)


def test_the_page_links_the_table_of_each_pair():
    metrics = sample_metrics(sizes=(16, 32), architectures=(TOPK,), hooks=(RESIDUAL,))
    metrics["pairs"][0]["features_csv"] = '../../b #1"<x>/report/pairs/x.csv'
    page = render_page(metrics, report_sections(typed(metrics))).split("plotly.js v")[0]
    assert '<a href="../../b%20%231%22%3Cx%3E/report/pairs/x.csv">CSV</a>' in page
    assert page.count("report/pairs/") == 1  # the other way round has no table
