"""Which pages are made, kept, remade and removed; what stands in them has tests of its own."""

import json
from pathlib import Path

import pytest

from analyze.features import make
from analyze.features.pages import write_features
from analyze.inputs import Inputs
from tests.analyze.features.test_choice import entry
from tests.analyze.typed import typed
from tests.experiments import load, write_config
from winnow.config.experiment import Experiment
from winnow.runtime.publish import publish_directory
from winnow.tokens import TokenFile

TOKENS = TokenFile(Path("tokens.h5"), 40, 16, "fingerprint", "tokenizer", "text", -1)


class Run:
    """A run of which only names and hashes exist; `made` lists the dictionaries for which data were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = [
            {**entry(hook, "topk", n), "l0": 8.0, "fvu": 0.5} for hook in ("resid", "mlp") for n in (16, 32)
        ]
        self.hashes = {e["path"]: e["path"] for e in self.entries}
        self.made: list[str] = []
        self.fail_at = -1

    @property
    def page(self) -> Path:
        return self.folder / "run" / "report" / "features" / "index.html"

    def config(self, *features: str) -> Experiment:
        return load(write_config(self.folder, self.folder, analyze={"features": list(features)}))

    def write(self, *features: str) -> bool:
        """Write the pages, and leave in `made` what was made this time."""
        self.made = []
        inputs = Inputs("evaluation", "harvest", self.hashes, {})
        return write_features(
            self.config(*features), TOKENS, inputs, typed({"dictionaries": self.entries, "families": []})
        )

    def make_data(self, config, tokens, metrics, folder: Path, text: str, names: dict[str, str]) -> None:
        for name in [text, *names.values()]:
            if not (folder / name).exists():
                with publish_directory(folder / name) as partial:
                    (partial / "0.js").write_text(name)
        self.made += names

    def folders(self) -> set[str]:
        return {path.name for path in (self.page.parent / "data").iterdir()}

    def named(self) -> set[str]:
        catalogue = json.loads(self.page.read_text().split('id="catalogue">')[1].split("</script>")[0])
        return {catalogue["text"], *(d["data"] for d in catalogue["dictionaries"])}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run(tmp_path)
    monkeypatch.setattr(make, "make_data", run.make_data)
    return run


def test_what_is_up_to_date_is_not_made_again(run: Run):
    assert run.write("all")
    assert len(run.made) == 4
    before = run.page.stat().st_mtime_ns
    assert not run.write("all")
    assert run.made == []
    assert run.page.stat().st_mtime_ns == before


def test_a_dictionary_trained_anew_remakes_its_ladder_alone(run: Run):
    run.write("all")
    run.hashes["dictionaries/mlp/topk-16-seed0"] = "other"
    assert run.write("all")
    assert run.made == ["dictionaries/mlp/topk-16-seed0", "dictionaries/mlp/topk-32-seed0"]
    assert run.folders() == run.named()  # what was made before is gone


def test_another_choice_keeps_what_both_have(run: Run):
    run.write("mlp/*")
    assert run.write("all")
    assert run.made == ["dictionaries/resid/topk-16-seed0", "dictionaries/resid/topk-32-seed0"]
    assert run.write("resid/topk-16-*")
    assert run.made == []
    assert len(run.folders()) == 2


def test_none_removes_the_pages(run: Run):
    run.write("all")
    assert run.write("none")
    assert not run.page.parent.exists()
    assert not run.write("none")


def test_a_kill_leaves_the_old_pages_whole_and_the_next_run_makes_the_rest(run: Run, monkeypatch: pytest.MonkeyPatch):
    run.write("mlp/*")
    old, named = run.page.read_text(), run.named()

    def die_half_way(config, tokens, metrics, folder, text, names):
        first = next(iter(names))
        run.make_data(config, tokens, metrics, folder, text, {first: names[first]})
        (folder / "half.123.partial").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(make, "make_data", die_half_way)
        with pytest.raises(KeyboardInterrupt):
            run.write("all")
    assert run.page.read_text() == old
    assert named <= run.folders()
    assert run.write("all")
    assert run.made == ["dictionaries/resid/topk-32-seed0"]
    assert run.folders() == run.named()
