"""The stage makes feature pages on a real, if miniature, run."""

import pytest

from analyze.stage import measure_run
from tests.experiments import ROOT, load
from winnow.errors import UserError


@pytest.mark.usefixtures("bare_page")
def test_feature_pages_are_made_once_and_follow_the_choice(experiment, harvested, capsys):
    chosen = load(harvested, "--run", experiment.run, "--analyze.features", "auto")
    measure_run(chosen)
    features = ROOT / experiment.run / "report" / "features"
    assert "144 latents of 2 dictionaries" in capsys.readouterr().out
    made = {path: path.stat().st_mtime_ns for path in features.rglob("*.js")}
    assert len(made) == 5  # text; of both, an overview and one chunk
    measure_run(chosen)
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in features.rglob("*.js")} == made
    measure_run(load(harvested, "--run", experiment.run, "--analyze.features", "topk-96-*"))
    assert len(list(features.rglob("*.js"))) == 3
    report = features.parent / "index.html"
    written = report.stat().st_mtime_ns
    measure_run(load(harvested, "--run", experiment.run, "--analyze.features", "none"))
    assert not features.exists()
    assert report.stat().st_mtime_ns > written  # without the link
    with pytest.raises(UserError, match=r"analyze.features = gated-\*: no finished dictionary has this name"):
        measure_run(load(harvested, "--run", experiment.run, "--analyze.features", "gated-*"))
