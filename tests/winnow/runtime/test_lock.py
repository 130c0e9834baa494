import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments import ROOT
from winnow.errors import UserError
from winnow.runtime.lock import claim, run_lock

HOLD = """
import sys, time
from pathlib import Path
from winnow.runtime.lock import claim, run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_refused_by_the_firsts_id_and_host_until_that_is_killed(tmp_path: Path):
    run = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError) as refused, run_lock(run):
            pass
        assert str(refused.value) == (
            f"{run} is in use by process {holder.pid} on {socket.gethostname()}; wait for it, or stop it"
        )
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with run_lock(run):
        assert run.is_dir()


def test_a_run_directory_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write here .*; choose another run directory"),
        run_lock(tmp_path / "file" / "run"),
    ):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = r"the file system has no locks \(No locks available\); have it mounted with locks"
    with pytest.raises(UserError, match=said), run_lock(tmp_path / "run"):
        pass
    with pytest.raises(UserError, match=said), claim(tmp_path / "run" / "shard"):
        pass
