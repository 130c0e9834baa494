"""What `pip install` gives: the library with its types, and without the stages or what they need."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from data.tokens import make_tokens
from harvest.stage import harvest
from tests.analyze.miniature import add_dictionary
from tests.experiments import ROOT, load, write_config
from tests.installed import build_wheel, make_environment
from tests.stores import write_store
from winnow import stage
from winnow.dictionary import Dictionary, save_dictionary

README = (ROOT / "README.md").read_text(encoding="utf-8")
MISSING = ("datasets", "transformer_lens", "transformers", "scipy", "plotly", "matplotlib", "harvest", "train")


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


def python_example() -> str:
    """The README's Python, and where it looks."""
    [example] = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    return example


def test_the_wheel_holds_the_library_its_types_and_nothing_else(wheel: Path):
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "winnow").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {*sources, "winnow/py.typed"}


def test_the_environment_has_none_of_what_the_stages_need(python: Path, tmp_path: Path):
    program = f"import importlib.util as u; print([name for name in {MISSING} if u.find_spec(name)])"
    assert run(python, "-c", program, cwd=tmp_path).stdout == "[]\n"


def test_the_example_of_the_readme_runs_without_the_stages(python: Path, tmp_path: Path):
    path, store, hook = re.findall(r'"(runs/demo/dictionaries/.*?)"|"(runs/demo/activations)"|read\("(.*?)"', README)
    folder, d = tmp_path / path[0], 16
    decoder = torch.nn.functional.normalize(torch.randn(64, d, generator=torch.Generator().manual_seed(0)), dim=1)
    dictionary = Dictionary(
        decoder.T.contiguous(), torch.zeros(64), decoder, torch.zeros(d), architecture="topk", k=4, hook=hook[2]
    )
    save_dictionary(dictionary, folder, {}, {})
    rows = torch.randn(1500, d, generator=torch.Generator().manual_seed(1))
    write_store(tmp_path / store[1], {hook[2]: rows})
    check = (
        "; print(winnow.__file__, tuple(latents.shape), latents.sum().item(), winnow.load_dictionaries('runs/demo'))"
    )
    done = run(python, "-c", python_example().rstrip().partition("  #")[0] + check, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, shape, total, shown = re.fullmatch(r"(\S+) (\(.*?\)) (\S+) (.*)\n", done.stdout).groups()  # type: ignore[union-attr]
    assert Path(where).is_relative_to(python.parents[1])
    assert shape == "(1024, 64)"
    assert float(total) == pytest.approx(dictionary.encode(rows[:1024]).sum().item(), rel=1e-5)
    assert "n_latents=64" in shown


def test_the_example_of_the_readme_runs_on_the_demo(python: Path):
    if not (ROOT / "runs" / "demo" / "report" / "metrics.json").exists():
        pytest.skip("no runs/demo/report: run make demo first")
    done = run(python, "-c", python_example(), cwd=ROOT)
    assert done.returncode == 0, done.stderr


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


def test_a_stage_without_its_packages_says_what_to_install(python: Path, tmp_path: Path, gpt2: Path):
    config = write_config(tmp_path, gpt2, harvest={"positions": {"skip_first": 1}})
    said = (
        f"(data|harvest|analyze): the package ({'|'.join(MISSING)}) is not installed; the stages need more than the "
        r"library does: make setup, or pip install '\.\[stages\]' in the repository's root\n"
    )
    for name in ("data", "harvest", "analyze"):
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
