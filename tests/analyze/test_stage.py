"""The stage on a miniature run: what it writes, what it keeps, and what it refuses."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from analyze.collect import metrics as module
from analyze.evaluation import text
from analyze.report.page import render_page, report_sections
from analyze.schema.record import read_record
from analyze.schema.report import Metrics
from analyze.stage import measure_run
from tests.analyze.miniature import HOOK, add_dictionary, read
from tests.experiments import ROOT, load
from winnow.errors import UserError


def assert_documented(value):
    """Every name in the metrics, at any depth, stands in the documentation."""
    text = "".join((ROOT / "docs" / name).read_text() for name in ("guide/analyze.md", "results/truth.md"))
    if isinstance(value, dict):
        for key, inner in value.items():
            name = key if key.replace("_", "").isalpha() else None  # quantiles and paths are no names
            assert name is None or name in text, key
            assert_documented(inner)
    elif isinstance(value, list):
        for inner in value[:1]:
            assert_documented(inner)


def by_size(metrics):
    return sorted(metrics["dictionaries"], key=lambda d: d["n_latents"])


def test_the_stage_writes_metrics_report_and_summary(experiment, capsys):
    measure_run(experiment)
    metrics = read(experiment)
    assert metrics["version"] == 3
    assert metrics["run"]["positions"] == "all but the first 1"
    assert metrics["evaluation"].pop("shared_ngrams").keys() == {"16", "64"}
    assert metrics["evaluation"] == {"sequences": 4, "rows": 60, "dropped_sequences": None}
    small, large = metrics["dictionaries"]
    assert (small["n_latents"], large["n_latents"]) == (48, 96)
    assert small["path"] == f"dictionaries/{HOOK}/topk-48-k8-seed0"
    assert small["sparsity"] == {"k": 8}
    assert small["rows"] == 5000
    assert small["l0"] <= 8
    assert small["curve"]["loss"] == [1.0, 0.5]
    assert sum(small["density"]["counts"]) + small["density"]["never"] == 48
    assert small["ce"]["clean"] > 0
    assert [(p["from"], p["to"]) for p in metrics["pairs"]] == [
        (small["path"], large["path"]),
        (large["path"], small["path"]),
    ]
    assert [(a["hook"], a["kind"], a["width"]) for a in metrics["activations"]] == [
        (HOOK, "residual", 32),
        ("blocks.1.mlp.hook_post", "mlp", 128),
    ]
    assert set(small["baselines"]) == {"pca", "kmeans", "random", "untrained"}
    assert small["convergence"] is None  # no trainer judged it
    assert small["toy"]["agrees"].keys() == metrics["activations"][0]["toy"]["agrees"].keys()
    assert small["mse"] > 0 < small["l1"]
    assert len(small["shrinkage"]) == 5
    assert 0 < metrics["pairs"][0]["mmcs_null_isotropic"] < 1
    assert 0 <= metrics["pairs"][0]["stitching"]["novel"] <= 1
    assert not {"ceiling", "converged"} & set(metrics["pairs"][0])  # they follow from the ceilings and the dictionaries
    assert metrics["pairs"][0]["subspaces"] == metrics["pairs"][1]["subspaces"]
    assert metrics["ceilings"] == []
    assert metrics["lineages"] == []  # of three sizes and more
    (grid,) = metrics["choosing"]
    assert (grid["sizes"], grid["sparsities"], grid["sparsity"]) == ([48, 96], [8], "k")
    assert grid["mmcs_next"] == [[metrics["pairs"][0]["mmcs"]], [None]]
    (family,) = metrics["families"]
    assert family["persists"] + family["splits"] + family["vanished"] <= 48
    assert_documented(metrics)
    assert metrics["activations"][1]["fits"]["best"] in metrics["activations"][1]["fits"]["laws"]
    assert 1 <= metrics["activations"][0]["spectrum"]["participation_ratio"] <= 32
    assert (ROOT / experiment.run / "report" / "index.html").exists()
    assert "index.html" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.usefixtures("bare_page")
def test_held_out_rows_are_not_those_harvested(experiment):
    measure_run(experiment)
    metrics = read(experiment)
    harvested = metrics["activations"][0]["rows"]
    assert metrics["run"]["rows"] == harvested
    assert metrics["run"]["tokens"] == (harvested + metrics["evaluation"]["rows"]) // 15 * 16


@pytest.mark.usefixtures("bare_page")
def test_running_again_does_nothing_and_says_so(experiment, capsys):
    measure_run(experiment)
    path = ROOT / experiment.run / "report" / "metrics.json"
    before = path.stat().st_mtime_ns
    capsys.readouterr()
    measure_run(experiment)
    assert path.stat().st_mtime_ns == before
    said = capsys.readouterr().out
    assert "all 2 dictionaries are measured; nothing to do" in said
    assert "FVU" in said


@pytest.mark.usefixtures("bare_page")
def test_with_nothing_to_do_no_heavy_library_is_loaded(experiment, harvested):
    measure_run(experiment)
    code = (
        "import sys; from analyze.stage import measure_run; from winnow.config.command_line import load_experiment; "
        f"measure_run(load_experiment('x', ['--config', {str(harvested)!r}, '--run', {experiment.run!r}])); "
        "assert not {'torch', 'transformers', 'plotly', 'scipy'} & set(sys.modules), sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


@pytest.mark.usefixtures("bare_page")
def test_a_new_dictionary_is_added_and_the_others_are_not_measured_again(experiment, monkeypatch):
    measure_run(experiment)
    first = read(experiment)
    add_dictionary(ROOT / experiment.run, 192)
    asked = []
    evaluate = text.evaluate
    monkeypatch.setattr(text, "evaluate", lambda *a: asked.append([d.n_latents for d in a[3]]) or evaluate(*a))
    measure_run(experiment)
    metrics = read(experiment)
    assert asked == [[192]]
    sizes = {d["n_latents"]: d for d in metrics["dictionaries"]}
    assert [sizes[48], sizes[96]] == first["dictionaries"]
    assert len(metrics["pairs"]) == 4
    assert metrics["pairs"][:2] == first["pairs"]


@pytest.mark.usefixtures("bare_page")
def test_another_seed_is_the_ceiling(experiment):
    add_dictionary(ROOT / experiment.run, 48, seed=1)
    measure_run(experiment)
    metrics = read(experiment)
    assert [(c["from"][-5:], c["to"][-5:]) for c in metrics["ceilings"]] == [("seed0", "seed1"), ("seed1", "seed0")]
    assert len(metrics["pairs"]) == 2
    assert {c["from"] for c in metrics["ceilings"]} & {pair["from"] for pair in metrics["pairs"]}


@pytest.mark.usefixtures("bare_page")
def test_three_sizes_have_lineages(experiment):
    add_dictionary(ROOT / experiment.run, 192)
    measure_run(experiment)
    metrics = read(experiment)
    (ladder,) = metrics["lineages"]
    assert ladder["paths"] == [d["path"] for d in by_size(metrics)]
    table = ROOT / experiment.run / "report" / ladder["latents_csv"]
    head, *lines = table.read_text().splitlines()
    assert head == "size,latent,descendants,ancestors,born"
    living = [round(d["alive_fraction"] * d["n_latents"]) for d in by_size(metrics)]
    assert [sum(line.startswith(f"{size},") for line in lines) for size in range(3)] == living
    table.unlink()
    measure_run(experiment)
    assert read(experiment) == metrics
    assert len(table.read_text().splitlines()) == 1 + sum(living)


@pytest.mark.usefixtures("bare_page")
def test_adding_gives_what_measuring_all_at_once_gives(experiment):
    measure_run(experiment)
    add_dictionary(ROOT / experiment.run, 192)
    measure_run(experiment)
    added = read(experiment)
    shutil.rmtree(ROOT / experiment.run / "report")
    measure_run(experiment)
    assert read(experiment) == added


@pytest.mark.usefixtures("bare_page")
def test_a_dictionary_trained_anew_is_measured_anew(experiment):
    measure_run(experiment)
    folder = ROOT / experiment.run / "dictionaries" / HOOK / "topk-48-k8-seed0"
    record = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps({**record, "rows": 9000}))
    measure_run(experiment)
    assert read(experiment)["dictionaries"][0]["rows"] == 9000


@pytest.mark.usefixtures("bare_page")
def test_a_report_that_was_not_finished_is_written_from_the_metrics(experiment, monkeypatch):
    measure_run(experiment)
    page = ROOT / experiment.run / "report" / "index.html"
    page.unlink()
    monkeypatch.setattr(module, "measure", lambda *a: pytest.fail("measured again"))
    measure_run(experiment)
    assert page.exists()


@pytest.mark.usefixtures("bare_page")
def test_without_a_finished_dictionary_the_remedy_is_named(experiment):
    shutil.rmtree(ROOT / experiment.run / "dictionaries")
    with pytest.raises(UserError, match=r"dictionaries: no finished dictionary; run make train first$"):
        measure_run(experiment)


@pytest.mark.usefixtures("bare_page")
def test_without_tokens_the_remedy_is_named(experiment):
    (ROOT / experiment.run / "tokens.h5").unlink()
    with pytest.raises(UserError, match=r"tokens.h5: no such file; run make tokens first$"):
        measure_run(experiment)


@pytest.mark.usefixtures("bare_page")
def test_without_activations_the_remedy_is_named(experiment):
    shutil.rmtree(ROOT / experiment.run / "activations")
    with pytest.raises(UserError, match=r"manifest.json: no such file; .* run make harvest$"):
        measure_run(experiment)


@pytest.mark.usefixtures("bare_page")
def test_an_unfinished_harvest_is_refused(experiment):
    (ROOT / experiment.run / "activations" / "statistics.h5").unlink()
    with pytest.raises(UserError, match=r"activations: the harvest is not finished; run make harvest$"):
        measure_run(experiment)


@pytest.mark.usefixtures("bare_page")
def test_changed_settings_are_named_with_both_values(experiment, harvested):
    changed = load(harvested, "--run", experiment.run, "--harvest.positions", "all")
    with pytest.raises(UserError, match=r"was made with harvest.positions = .*'skip_first': 1.*'skip_first': 0"):
        measure_run(changed)


@pytest.mark.usefixtures("bare_page")
def test_more_sequences_than_were_held_out_are_refused(experiment, harvested):
    changed = load(harvested, "--run", experiment.run, "--text.held_out_sequences", "5")
    with pytest.raises(
        UserError, match=r"text.held_out_sequences = 5: 4 of the 40 sequences in .*tokens.h5 were held out"
    ):
        measure_run(changed)


@pytest.mark.usefixtures("bare_page")
def test_metrics_that_are_no_json_are_named(experiment):
    folder = ROOT / experiment.run / "report"
    folder.mkdir()
    (folder / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics.json: not valid JSON .*; delete it, and run make analyze again$"):
        measure_run(experiment)


@pytest.mark.usefixtures("bare_page")
@pytest.mark.parametrize("version", [1, 2])
def test_a_report_of_an_older_version_is_made_anew(experiment, version):
    measure_run(experiment)
    path, metrics = ROOT / experiment.run / "report" / "metrics.json", read(experiment)
    path.write_text(json.dumps({"version": version, "dictionaries": [{"fvu": 0.5}]}))
    measure_run(experiment)
    assert read(experiment) == metrics


@pytest.mark.usefixtures("bare_page")
def test_a_report_of_a_later_version_is_refused(experiment):
    measure_run(experiment)
    path = ROOT / experiment.run / "report" / "metrics.json"
    path.write_text(json.dumps(read(experiment) | {"version": 4}))
    with pytest.raises(UserError, match=r"metrics.json: expected version 3, found 4; delete it, and run make analyze"):
        measure_run(experiment)


@pytest.mark.usefixtures("bare_page")
def test_with_a_dictionary_of_which_nothing_lives_there_is_nothing_to_compare(experiment):
    run = ROOT / experiment.run
    add_dictionary(run, 192, dead=True)
    add_dictionary(run, 192, seed=1)
    measure_run(experiment)
    metrics = read(experiment)
    (dead,) = (d["path"] for d in metrics["dictionaries"] if d["alive_fraction"] == 0)
    for key, number in (("pairs", 2), ("ceilings", 2)):
        found = [pair for pair in metrics[key] if dead in (pair["from"], pair["to"])]
        assert len(found) == number
        for pair in found:
            known = {name for name, value in pair.items() if value is not None}
            assert known == {"from", "to", "features_csv", "mmcs_with_dead"}
    family = metrics["families"][-1]
    assert family["to"] == dead
    assert {family[fate] for fate in ("persists", "splits", "vanished", "new", "merges")} == {None}
    (lineage,) = metrics["lineages"]
    assert lineage["survival"][0][2] is None
    assert metrics["choosing"][0]["mmcs_next_corrected"][1] == [None]
    page = render_page(metrics, report_sections(read_record(Metrics, metrics))).split("plotly.js v")[0]
    assert not re.search(r"\b(None|nan|Undefined)\b", page)


@pytest.mark.usefixtures("bare_page")
@pytest.mark.parametrize("name", ["metrics.json", "latents.h5", "pairs/*.csv", "index.html"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_file_of_the_report_that_is_missing_or_changed_is_made_again(experiment, capsys, name, gone):
    measure_run(experiment)
    folder = ROOT / experiment.run / "report"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    path = next(folder.glob(name))
    path.unlink() if gone else path.write_bytes(before[path].replace(b"1", b"2") + b" ")
    capsys.readouterr()
    measure_run(experiment)
    said = capsys.readouterr()
    assert f"{path}: " in said.err
    assert "made again" in said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    measure_run(experiment)
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.usefixtures("bare_page")
def test_a_published_dictionary_that_changed_on_disk_is_measured_again(experiment):
    """One without a record of its training: nothing but its bytes tells it from another."""
    folder = ROOT / experiment.run / "dictionaries" / HOOK / "topk-48-k8-seed0"
    for name in ("training.json", "metrics.jsonl"):
        (folder / name).unlink()
    measure_run(experiment)
    before = read(experiment)["dictionaries"]
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    size = path.stat().st_size
    save_file({key: value * 2 if key == "W_dec" else value for key, value in tensors.items()}, path)
    assert path.stat().st_size == size
    measure_run(experiment)
    after = read(experiment)["dictionaries"]
    assert [a["fvu"] != b["fvu"] for a, b in zip(after, before, strict=True)] == [True, False]


@pytest.mark.usefixtures("bare_page")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"dictionaries/{HOOK}/topk-48-k8-seed0/sae_weights.safetensors", "sha256 is .*, training.json says"),
        ("activations/statistics.h5", "sha256 is .*, hashes.json says .*--repair"),
        ("activations/manifest.json", "sha256 is .*, hashes.json says .*restore it"),
        ("tokens.h5", "fingerprint of its tokens is"),
    ],
)
def test_what_was_damaged_is_not_measured(experiment, name, said):
    path = ROOT / experiment.run / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + (b" " if name.endswith("json") else bytes([content[-1] ^ 2])))
    with pytest.raises(UserError, match=said):
        measure_run(experiment)
