"""A finished run on a read-only disk: every stage says that there is nothing to do, and what reads it reads it."""

import shutil
from pathlib import Path

import pytest

import winnow
from analyze.runs.compare_runs import compare_runs
from tests.experiments import load
from tests.finished import STAGES, contents, write_page
from tests.read_only import read_only
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.runtime.lock import run_lock
from winnow.runtime.ranks import Ranks
from winnow.verify import verify


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Experiment:
    """A copy of the finished run, without the locks that its stages left there."""
    shutil.copytree(finished.parent / "run", tmp_path / "run", ignore=shutil.ignore_patterns(".lock", ".claims"))
    return load(finished, "--run", str(tmp_path / "run"))


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_nothing_to_do_and_writes_nothing(
    run: Experiment, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(Path(run.run))
    with read_only(Path(run.run)):
        STAGES[name](run)
    assert "nothing to do" in capsys.readouterr().out
    assert contents(Path(run.run)) == before
    assert not [path for path in Path(run.run).iterdir() if path.name.startswith(".")]


def test_a_rank_of_several_has_nothing_to_do_either(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    with read_only(Path(run.run)):
        for name in ("harvest", "train"):
            STAGES[name](run, Ranks(1, 2, 0))  # type: ignore[call-arg]
    assert capsys.readouterr().out.count("nothing to do") == 2


def test_several_runs_are_compared_in_one_that_can_be_written(
    run: Experiment, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load(finished, "--run", str(shutil.copytree(finished.parent / "run", tmp_path / "own")))
    monkeypatch.setattr("analyze.report.page.write_report", write_page)
    before = contents(Path(run.run))
    with read_only(Path(run.run)):
        compare_runs(own, [run.run])
    assert (tmp_path / "own" / "comparison" / "metrics.json").exists()
    assert contents(Path(run.run)) == before


def test_verify_and_the_library_read_it(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    with read_only(Path(run.run)):
        verify(run)
        assert len(winnow.load_dictionaries(run.run)) == 2
        assert winnow.ActivationStore(Path(run.run) / "activations").rows == 576
    assert "2 dictionaries are whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("data", "tokens.h5"),
        ("harvest", "activations/shard-00001.json"),
        ("train", "dictionaries"),
        ("polytopes", "polytopes/codes.json"),
        ("analyze", "report/latents.h5"),
    ],
)
def test_what_is_to_be_done_is_refused_in_one_line(run: Experiment, name: str, removed: str) -> None:
    path = Path(run.run) / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with read_only(Path(run.run)), pytest.raises(UserError) as refused:
        STAGES[name](run)
    remedy = "cannot write here (Read-only file system); choose another run directory"
    assert str(refused.value) == f"{run.run}: {remedy}"


def test_a_run_that_is_not_there_cannot_be_begun(tmp_path: Path) -> None:
    with read_only(tmp_path), pytest.raises(UserError, match="cannot write here"), run_lock(tmp_path / "run"):
        pass


def test_a_file_elsewhere_that_cannot_be_written_is_not_blamed_on_the_run(tmp_path: Path) -> None:
    elsewhere = PermissionError(13, "Permission denied", str(tmp_path / "cache"))
    (tmp_path / "run").mkdir()
    with read_only(tmp_path), pytest.raises(PermissionError), run_lock(tmp_path / "run"):
        raise elsewhere
