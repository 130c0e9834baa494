"""What is kept between processes lies where only the user can write, or nowhere."""

from pathlib import Path

import pytest

from winnow.runtime.user_cache import own_folder, user_cache


def test_it_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache("numba") == tmp_path / "winnow" / "numba"
    assert (tmp_path / "winnow" / "numba").stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_cache("numba") == tmp_path / "home" / ".cache" / "winnow" / "numba"


@pytest.mark.parametrize("home", ["/dev/null", "/proc/nobody", "relative"])
def test_without_a_home_there_is_none(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    assert user_cache("numba") is None


def test_a_folder_that_others_can_write_to_is_not_trusted(tmp_path: Path) -> None:
    for mode, trusted in ((0o755, True), (0o775, False), (0o777, False)):
        tmp_path.chmod(mode)
        assert (own_folder(tmp_path) is not None) == trusted
