"""Whoever reads a command's output, in whatever encoding: no traceback, and the status is that of the work."""

from pathlib import Path

import pytest

from tests.experiments import write_config
from tests.forked import Client, Done

BROKEN = "ends = os.pipe(); os.close(ends[0]); [os.dup2(ends[1], number) for number in (1, 2)]"
FULL = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
ASCII = "sys.stdout, sys.stderr = (io.TextIOWrapper(open(n, 'wb', closefd=False), encoding='ascii') for n in (1, 2))"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, gpt2: Path) -> Path:
    """An experiment whose run has a name that ASCII does not have."""
    folder = tmp_path_factory.mktemp("é")
    topk = {"architecture": "topk", "n_latents": 16, "k": 4}
    return write_config(folder, gpt2, train={"rows": 2000, "dictionaries": [topk]})


def run(stages: Client, stage: str, config: Path, before: str, *arguments: str) -> Done:
    """Run a stage in a process in which some lines ran before, with the streams as Python makes them."""
    kept = "kept = sys.stdout, sys.stderr"
    usual = "sys.stdout, sys.stderr = (io.TextIOWrapper(open(n, 'wb', closefd=False)) for n in (1, 2))"
    asked = [stage, "--config", str(config), *arguments]
    return stages.python(
        f"import io, os, runpy, sys\n{kept}\n{usual}\n{before}\nsys.argv = {asked}\n"
        f"runpy.run_module({stage!r}, run_name='__main__', alter_sys=True)"
    )


@pytest.mark.parametrize("stage", ["data", "plan"])
def test_what_nobody_reads_any_more_is_dropped_and_the_work_is_done(stage: str, config: Path, stages: Client) -> None:
    done = run(stages, stage, config, BROKEN)
    assert (done.status, done.out, done.err) == (0, "", "")
    assert (config.parent / "run" / "tokens.h5").exists()


def test_a_refusal_keeps_its_status_where_nobody_reads_it(config: Path, stages: Client) -> None:
    assert run(stages, "data", config, BROKEN, "--text.context", "1").status == 2
    assert run(stages, "winnow.verify", config, BROKEN, "--run", "nowhere").status == 2


@pytest.mark.parametrize("stage", ["data", "plan"])
def test_a_character_that_the_encoding_lacks_is_escaped(stage: str, config: Path, stages: Client) -> None:
    done = run(stages, stage, config, ASCII)
    assert done.status == 0, done
    assert "\\xe9" in done.out
    assert "Traceback" not in done.err
    assert (done.out + done.err).isascii()


def test_progress_bars_and_help_are_written_in_any_encoding(config: Path, tmp_path: Path, stages: Client) -> None:
    done = run(stages, "data", config, ASCII, "--run", str(tmp_path / "run"))
    assert done.status == 0, done
    assert "tokens ----" in done.err
    done = run(stages, "harvest", config, ASCII, "--help")
    assert done.status == 0, done
    assert "--harvest.hooks" in done.out
    done = run(stages, "data", config, ASCII, "--run", "ä\n")
    assert done.status == 2
    assert done.err.endswith("run: has control characters; choose a name without them, found '\\xe4\\n'\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_a_redirection_is_one_line(config: Path, stages: Client) -> None:
    done = run(stages, "plan", config, FULL)
    assert done.status == 3, done
    assert done.err == "plan: the disk is full (standard output); free some space, and run it again\n"
