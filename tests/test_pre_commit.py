"""What runs before a commit is what `make check` runs."""

import re
import subprocess
import sys

import yaml

from tests.experiments import ROOT

CONFIG = ROOT / ".pre-commit-config.yaml"


def recipe(target: str) -> str:
    """The command of a make target that has one."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n\t@?(.+)$", makefile, flags=re.MULTILINE)
    assert found, target
    return found[1].replace("$(BIN)", ".venv/bin")


def test_hooks_run_the_commands_of_make_check() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^check: (.+)$", makefile, flags=re.MULTILINE)
    assert found
    targets = [target for target in found[1].split() if not target.startswith("test")]
    (local,) = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
    assert {hook["id"]: hook["entry"] for hook in local["hooks"]} == {target: recipe(target) for target in targets}


def test_pre_commit_takes_the_file() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
