"""Compiled loops are kept where only the user can write; without such a place they compile each time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import winnow.runtime.jit
from winnow.runtime.jit import CONFIG, cache_folder, compiled


@pytest.fixture(autouse=True)
def _looked_for_anew() -> Iterator[None]:
    cache_folder.cache_clear()
    yield
    cache_folder.cache_clear()


def twice() -> Callable[[int], int]:
    """A loop, compiled as harvest/accumulate.py compiles its own."""

    @compiled(nogil=True)
    def double(x: int) -> int:
        return 2 * x

    return double


def test_machine_code_is_kept_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(CONFIG, "CACHE_DIR", "")
    assert twice()(4) == 8
    assert {path.suffix for path in (tmp_path / "winnow" / "numba").rglob("*") if path.is_file()} == {".nbi", ".nbc"}
    assert not [path for path in Path(__file__).parent.rglob("*.nb?") if "double" in path.name]
    assert CONFIG.CACHE_DIR == ""


def test_without_a_home_nothing_is_kept_and_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(CONFIG, "CACHE_DIR", "")
    assert twice()(4) == 8
    assert not [path for path in Path(__file__).parent.rglob("*.nb?") if "double" in path.name]


def test_the_users_own_choice_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "CACHE_DIR", str(tmp_path))
    assert winnow.runtime.jit.cache_folder() == tmp_path
    tmp_path.chmod(0o777)
    cache_folder.cache_clear()
    assert winnow.runtime.jit.cache_folder() is None
