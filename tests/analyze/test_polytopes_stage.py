"""The report knows its polytopes: what changed in them makes the page again, and measures nothing again."""

import json
from pathlib import Path

import pytest

from analyze.collect import metrics as module
from analyze.inputs import run_polytopes
from analyze.schema.file import read_metrics
from analyze.stage import measure_run
from tests.analyze.miniature import read
from tests.analyze.sample_polytopes import invented, write_results
from tests.experiments import ROOT
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.runtime.hashes import HASHES
from winnow.shards.manifest import read_manifest


def made_from(run: Path) -> dict[str, str]:
    manifest = read_manifest(run / "activations")
    assert manifest.model is not None
    assert manifest.tokens is not None
    return {"weights_sha256": manifest.model["weights_sha256"], "tokens": manifest.tokens["fingerprint"]}


def test_changed_polytopes_make_the_page_again_and_nothing_else(
    experiment: Experiment, bare_page: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ROOT / experiment.run
    measure_run(experiment)
    assert read(experiment)["inputs"]["polytopes"] == {}
    monkeypatch.setattr(module, "measure", lambda *a: pytest.fail("measured again"))
    shown = []

    def write(metrics: object, folder: Path, polytopes: object) -> None:
        shown.append(polytopes)
        (folder / "index.html").write_text("")

    monkeypatch.setattr("analyze.report.page.write_report", write)
    before = read(experiment)
    path = write_results(run / "polytopes", "codes", inputs=made_from(run))
    measure_run(experiment)
    assert shown == [run_polytopes(experiment)[0]]
    assert shown[0].codes is not None
    after = read(experiment)
    assert after["inputs"].pop("polytopes") == {"codes": json.loads(path.read_text())["sha256"]}
    assert {**after, "inputs": None} == {**before, "inputs": None}
    capsys.readouterr()
    measure_run(experiment)
    assert "nothing to do" in capsys.readouterr().out
    results = invented("codes")
    results["layers"][0]["bits"] = 0.25
    write_results(run / "polytopes", "codes", results, inputs=made_from(run))
    measure_run(experiment)
    assert len(shown) == 2
    path.unlink()
    measure_run(experiment)
    assert len(shown) == 3
    assert shown[2].is_empty


def test_a_damaged_file_stops_the_stage_in_one_line(experiment: Experiment, bare_page: None) -> None:
    run = ROOT / experiment.run
    path = write_results(run / "polytopes", "maps", inputs=made_from(run))
    path.write_text(path.read_text().replace("jumps", "jumqs"))
    with pytest.raises(UserError, match=r"polytopes/maps\.json: expected sha256 .*damaged; run make polytopes"):
        measure_run(experiment)


def test_a_report_from_before_polytopes_were_read_is_opened(experiment: Experiment, bare_page: None) -> None:
    measure_run(experiment)
    path = ROOT / experiment.run / "report" / "metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["inputs"]["polytopes"]
    path.write_text(json.dumps(metrics))
    (ROOT / experiment.run / HASHES).unlink()  # nor were hashes kept then
    found = read_metrics(path)
    assert found is not None
    assert found["inputs"]["polytopes"] == {}
