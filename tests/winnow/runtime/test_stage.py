"""What a stage says when it is stopped: that the same command continues only where it does."""

import errno
import runpy
import signal
import sys
from pathlib import Path

import pytest

import winnow.runtime.stage
from winnow.config.experiment import Experiment
from winnow.runtime.stage import run_stage


def left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, resumes: bool) -> int | str | None:
    def main(config: Experiment) -> None:
        raise error

    path = tmp_path / "experiment.toml"
    path.write_text(f'run = "{tmp_path}/run"\n')
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["stage", "--config", str(path)])
    with pytest.raises(SystemExit) as stopped:
        run_stage("stage", main, resumes=resumes)
    return stopped.value.code


@pytest.mark.parametrize(
    ("error", "resumes", "said"),
    [
        (KeyboardInterrupt(), True, "interrupted; what was complete is kept, the same command continues"),
        (KeyboardInterrupt(), False, "interrupted"),
        (
            OSError(errno.ENOSPC, "full", "/somewhere"),
            True,
            "the disk is full (/somewhere); free some space, the same command continues",
        ),
        (
            OSError(errno.ENOSPC, "full", "/somewhere"),
            False,
            "the disk is full (/somewhere); free some space, and run it again",
        ),
    ],
)
def test_it_promises_what_it_keeps(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    resumes: bool,
    said: str,
):
    assert left(monkeypatch, tmp_path, error, resumes) == 3
    assert capsys.readouterr().err == f"stage: {said}\n"


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # it was imported by another test
@pytest.mark.parametrize(
    ("module", "resumes"),
    [
        *((name, True) for name in ("data.__main__", "harvest.__main__", "train.__main__", "analyze.__main__")),
        *((name, False) for name in ("winnow.model.hooks", "winnow.verify", "plan.__main__")),
    ],
)
def test_what_keeps_nothing_does_not_promise_it(module: str, resumes: bool, monkeypatch: pytest.MonkeyPatch):
    started = []
    monkeypatch.setattr(winnow.runtime.stage, "run_stage", lambda *_, **options: started.append(options))
    runpy.run_module(module, run_name="__main__")
    assert [options.get("resumes", True) for options in started] == [resumes]
