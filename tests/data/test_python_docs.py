import errno
from pathlib import Path

import pytest

from data import python_docs
from data.python_docs import Document, _documents_in, docstrings, load_python_docs


def test_docstrings_are_found_where_python_and_c_extensions_put_them():
    source = '''
"""Module."""
class A:
    """Class."""
    async def f(self):
        """Method."""
        x = "no docstring"
add_docstr(torch.abs, r"""abs(x) -> Tensor
    indented""")
add_newdoc("numpy", "ndarray", ("T", "The transpose."))
print("not documentation")
'''
    found = list(docstrings(source.encode()))
    assert set(found) == {
        *("Module.", "Class.", "Method.", "abs(x) -> Tensor\nindented"),
        *("numpy", "ndarray", "T", "The transpose."),
    }


def test_docstrings_are_found_in_every_kind_of_block():
    source = b'''
if a:
    try:
        def f():
            """One."""
    except E:
        class A:
            """Two."""
    else:
        for b in c:
            def g():
                with d:
                    def h():
                        """Three."""
    finally:
        match e:
            case 1:
                def i():
                    """Four."""
'''
    assert set(docstrings(source)) == {"One.", "Two.", "Three.", "Four."}


def test_a_source_that_does_not_parse_has_none():
    assert list(docstrings(b"print 'Python 2'")) == []


def test_documents_are_long_enough_and_equal_up_to_white_space(tmp_path):
    path = tmp_path / "a.py"
    words = "word " * 30
    path.write_text(f'"""{words}"""\ndef f():\n    """{words.replace(" ", "  ")}"""\ndef g():\n    """Short."""\n')
    found = _documents_in(path)
    assert all(isinstance(document, Document) for document in found)
    assert len(found) == 2
    assert found[0].digest == found[1].digest


@pytest.fixture(scope="module")
def splits():
    return load_python_docs()


def test_no_document_stands_twice_or_in_both_splits(splits):
    texts = [" ".join(text.split()) for split in ("train", "test") for text in splits[split]["text"]]
    assert len(set(texts)) == len(texts)


def test_all_four_libraries_are_in_both_splits(splits):
    for split in ("train", "test"):
        assert set(splits[split]["library"]) == {"stdlib", "numpy", "torch", "transformers"}
    share = len(splits["test"]) / (len(splits["train"]) + len(splits["test"]))
    assert 0.04 < share < 0.06


def test_every_document_is_text_worth_reading(splits):
    assert min(map(len, splits["train"]["text"])) >= 80
    assert len(splits["train"]) > 15_000


def test_where_the_repository_is_read_only_the_text_is_kept_in_the_users_cache_or_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def read_only(*, dir: Path) -> None:  # noqa: A002
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr(python_docs, "CACHE", tmp_path / "repository")
    assert python_docs._writable_cache() == tmp_path / "repository"
    monkeypatch.setattr(python_docs.tempfile, "TemporaryFile", read_only)
    monkeypatch.setattr(python_docs, "user_cache", lambda name: tmp_path / "user" / name)
    assert python_docs._writable_cache() == tmp_path / "user" / "text"
    monkeypatch.setattr(python_docs, "user_cache", lambda name: None)
    kept = python_docs._writable_cache()
    assert kept.is_dir()
    assert kept == python_docs._writable_cache()
    kept.rmdir()
    python_docs._folder_for_now.cache_clear()
