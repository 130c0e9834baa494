"""Which failures of the hub pass by themselves, so that the same command may help."""

from importlib import import_module
from typing import Any

import pytest
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from winnow.hub import is_lasting

# the client's HTTP library, which depends on its version
http_library: Any = import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
REQUEST = http_library.Request("GET", "https://huggingface.co/api")


def http(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    return kind("refused", response=http_library.Response(status, request=REQUEST))


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (http(HfHubHTTPError, 403), True),
        (http(HfHubHTTPError, 413), True),
        (http(RepositoryNotFoundError, 404), True),
        (HFValidationError("Repo id"), True),
        (EntryNotFoundError("no such file"), True),
        (http(HfHubHTTPError, 429), False),
        (http(HfHubHTTPError, 503), False),
        (http_library.ConnectError("refused"), False),
        (ConnectionResetError("by peer"), False),
        (OSError("Consistency check failed: file should be of size 7 but has size 3"), False),
        (ValueError("Parquet magic bytes not found in footer"), False),  # it may be short, or damaged there
    ],
)
def test_what_the_hub_refused_it_refuses_again(error: Exception, lasting: bool):
    assert is_lasting(error) == lasting
    wrapped = RuntimeError("while reading")
    wrapped.__cause__ = error
    assert is_lasting(wrapped) == lasting


def test_a_file_that_the_cache_lacks_is_fetched_once_there_is_a_connection(monkeypatch: pytest.MonkeyPatch):
    error = LocalEntryNotFoundError("no connection, and not in the cache")
    monkeypatch.setattr("winnow.hub.constants.HF_HUB_OFFLINE", False)
    assert not is_lasting(error)
    monkeypatch.setattr("winnow.hub.constants.HF_HUB_OFFLINE", True)
    assert is_lasting(error)
