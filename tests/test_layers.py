"""Dependencies point one way: `make check` fails where an import goes the other way, or round in a circle."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments import ROOT

PACKAGES = ("winnow", "data", "harvest", "train", "polytopes", "analyze", "plan", "bench")


def imports_of(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {program}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what is checked, and the contracts."""
    folder = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=lambda _, names: [n for n in names if n == "tiny_gpt2"]
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_make_check_lints_imports() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "check: format lint imports types test" in makefile
    assert "lint-imports" in makefile


def test_the_tree_keeps_the_contracts(tree: Path) -> None:
    done = imports_of(tree)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("train/curve.py", "import analyze.inputs"),  # a stage imports a stage
        ("winnow/tokens.py", "def later():\n    from harvest import plan"),  # the library imports a stage, later
        ("analyze/inputs.py", "import plan.table"),  # a stage imports what is above the stages
        ("plan/machine.py", "import bench.table"),
        ("analyze/format.py", "import analyze.ladders"),  # a circle within a stage
        ("analyze/compare/cosines.py", "import analyze.dictionary.snapshots"),  # one between rooms
    ],
)
def test_a_forbidden_import_is_refused(tree: Path, file: str, planted: str) -> None:
    path = tree / file
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n{planted}\n", encoding="utf-8")
    try:
        done = imports_of(tree)
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
