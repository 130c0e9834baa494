"""Tests against the real packages, in the environment that has them: `make interop`. Elsewhere none is collected."""

import importlib
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

PEERS = ("sae_lens", "dictionary_learning", "sparsify")
collect_ignore_glob = [] if all(find_spec(name) for name in PEERS) else ["test_*.py"]

if not collect_ignore_glob:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about themselves
        for name in PEERS:
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the packages warn of what is theirs, also of what they call in the manner of older versions."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
