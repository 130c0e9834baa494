"""A miniature run, harvested once, to which every test adds the dictionaries it needs."""

import shutil
from functools import cache

import pytest

from data.tokens import make_tokens
from harvest.stage import harvest
from tests.analyze.miniature import add_dictionary
from tests.experiments import load, write_config
from winnow.model.language_model import open_model


@pytest.fixture(scope="session")
def harvested(tmp_path_factory, gpt2):
    """A configuration whose tokens and activations are made."""
    config = write_config(
        tmp_path_factory.mktemp("analyze"),
        gpt2,
        harvest={"positions": {"skip_first": 1}},
        analyze={"features": ["none"]},
    )
    make_tokens(load(config))
    harvest(load(config))
    return config


@pytest.fixture
def experiment(harvested, tmp_path):
    """A copy of the run, with dictionaries of two sizes at one hook."""
    shutil.copytree(harvested.parent / "run", tmp_path / "run")
    config = load(harvested, "--run", str(tmp_path / "run"))
    for n_latents in (48, 96):
        add_dictionary(tmp_path / "run", n_latents)
    return config


@pytest.fixture(scope="session")
def opened():
    """Open every model once: it takes longer than a miniature run's analysis."""
    once = cache(open_model)
    return lambda settings, begun_with: once(settings)


@pytest.fixture
def bare_page(monkeypatch, opened):
    """Instead of the report with all its figures, an empty page: the report has tests of its own."""
    monkeypatch.setattr("analyze.evaluation.text.open_model", opened)

    def write(metrics, folder, polytopes=None):
        (folder / "index.html").write_text("")
        return folder / "index.html"

    monkeypatch.setattr("analyze.report.page.write_report", write)
