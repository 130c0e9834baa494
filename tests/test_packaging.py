"""What `pip install` gives: the library with its types, and without the stages or what they need."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from data.tokens import make_tokens
from harvest.stage import harvest
from tests.analyze.miniature import add_dictionary
from tests.experiments import ROOT, load, write_config
from tests.installed import build_wheel, make_environment, run_example, write_example_run
from winnow.runtime import stage

MISSING = ("datasets", "transformer_lens", "transformers", "numba", "scipy", "plotly", "matplotlib", "harvest", "train")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with winnow and its requirements alone."""
    return make_environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run python as a user does, in `cwd`, which is on no import path."""
    return subprocess.run([python, "-P", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_the_wheel_holds_the_library_its_types_and_nothing_else(wheel: Path):
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "winnow").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {*sources, "winnow/py.typed"}


def test_the_environment_has_none_of_what_the_stages_need(python: Path, tmp_path: Path):
    program = f"import importlib.util as u; print([name for name in {MISSING} if u.find_spec(name)])"
    assert run(python, "-c", program, cwd=tmp_path).stdout == "[]\n"


def test_the_example_of_the_readme_runs_without_the_stages(python: Path, tmp_path: Path):
    expected = write_example_run(tmp_path)
    where, total = run_example(python, tmp_path)
    assert where.is_relative_to(python.parents[1])
    assert total == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_example_of_the_readme_runs_on_the_demo(python: Path):
    if not (ROOT / "runs" / "demo" / "report" / "metrics.json").exists():
        pytest.skip("no runs/demo/report: run make demo first")
    where, total = run_example(python, ROOT)
    assert where.is_relative_to(python.parents[1])
    assert total > 0


def test_a_type_checker_sees_the_types(python: Path, tmp_path: Path):
    program = """
        from typing import assert_type
        from torch import Tensor
        import winnow

        d = winnow.load_dictionary("a")
        store = winnow.ActivationStore("b")
        assert_type(d, winnow.Dictionary)
        assert_type(winnow.load_dictionaries("c"), list[winnow.Dictionary])
        assert_type(store.hooks, dict[str, int])
        assert_type(store.read("h", 0, 9), Tensor)
        assert_type(d.encode(store.read("h", 0, 9)), Tensor)
        assert_type(d.decode(d.encode(store.read("h", 0, 9))), Tensor)
        winnow.load_dictionary(3)
        winnow.load_dictionry("a")
    """
    lines = [line.strip() for line in program.splitlines()]
    (tmp_path / "user.py").write_text("\n".join(lines))
    pyright = [sys.executable, "-m", "pyright", "--pythonpath", str(python), "--outputjson", "user.py"]
    done = subprocess.run(pyright, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    found = [(lines[m["range"]["start"]["line"]], m["rule"]) for m in json.loads(done.stdout)["generalDiagnostics"]]
    assert found == [
        ("winnow.load_dictionary(3)", "reportArgumentType"),
        ('winnow.load_dictionry("a")', "reportAttributeAccessIssue"),
    ], done.stdout


def test_names_that_are_loaded_later_are_listed():
    import winnow

    assert set(winnow.__all__) <= set(dir(winnow))
    with pytest.raises(AttributeError, match="module 'winnow' has no attribute 'load_dictionry'"):
        winnow.load_dictionry  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
def test_a_stage_without_its_packages_says_what_to_install(python: Path, tmp_path: Path, gpt2: Path):
    config = write_config(tmp_path, gpt2, harvest={"positions": {"skip_first": 1}})
    said = (
        rf"(data|harvest|winnow\.model\.hooks|analyze): the package ({'|'.join(MISSING)}) is not installed; "
        r"the stages need more than the library does: make setup, or pip install "
        r"'\.\[stages\]' in the repository's root\n"
    )
    for name in ("data", "winnow.model.hooks", "harvest", "analyze"):
        command = [str(python), "-m", name, "--config", str(config)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert re.fullmatch(said, done.stderr), done.stderr
        if name == "data":  # with its packages it does its work, which the next one asks for first
            make_tokens(load(config))
        if name == "harvest":
            harvest(load(config))
            add_dictionary(tmp_path / "run", 48)
    done = run(python, "-m", "winnow.verify", "--config", str(config), cwd=tmp_path)  # of the library
    assert "2 hooks and 1 dictionaries are whole" in done.stdout, done.stderr


def test_a_missing_module_of_winnow_itself_is_a_bug(monkeypatch: pytest.MonkeyPatch):
    def main(config: object) -> None:
        raise ModuleNotFoundError("No module named 'harvest.nothing'", name="harvest.nothing")

    monkeypatch.setattr("sys.argv", ["harvest", "--config", str(ROOT / "configs" / "demo.toml")])
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    with pytest.raises(ModuleNotFoundError):
        stage.run_stage("harvest", main)
