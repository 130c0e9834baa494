"""The check of everything that computes on a GPU is itself right: small, on this machine, nothing is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments import ROOT

pytestmark = pytest.mark.slow


def test_quick_check_finds_nothing_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "bench/gpu_check.py", "--quick", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout, done.stdout
    found = json.loads((tmp_path / "out" / "found.json").read_text(encoding="utf-8"))
    assert not [name for name in found if name.endswith(" failed")], done.stderr
    parts = ("machine", "kernels", "steps", "resume", "speed", "pieces", "reading", "harvest", "gpt2", "cosines")
    assert [part for part in parts if f"== {part} " not in done.stdout] == []
    assert "ok    analyze on cpu: s" in done.stdout
