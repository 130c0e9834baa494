"""The built-in text: docstrings of the standard library, numpy, torch and transformers.

Real technical English that is on every machine with winnow installed, so there is nothing to download.
One document per docstring. Sources are parsed, never imported: docstrings are those of modules, classes
and functions, and those that C extensions get by a call (`add_docstr(f, "…")`,
`add_newdoc("numpy", "ndarray", "…")`).

    python -m data.python_docs          # build it, and print its size

Two splits, `train` and `test`: the hash of a document's text decides, so a document is always in the
same split, whatever else is installed. Within a split documents are in the order of their hashes, which
mixes the four libraries evenly.
"""

import ast
import atexit
import errno
import hashlib
import importlib.metadata
import importlib.util
import inspect
import platform
import re
import shutil
import sysconfig
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, DatasetDict, load_from_disk

from winnow.runtime.publish import publish_directory
from winnow.runtime.user_cache import user_cache

LIBRARIES = ("numpy", "torch", "transformers")
CACHE = Path(__file__).parents[1] / ".cache"
FORMAT_VERSION = 1
MIN_CHARACTERS = 80  # shorter docstrings are labels ("Return the name."), not text
HELD_OUT_IN = 20  # one document in 20 is held out
SKIPPED_FOLDERS = {"site-packages", "test", "tests", "idle_test"}
_DOC_CALL = re.compile(rb"doc\w*\s*\(")
_SURROGATE = re.compile("[\ud800-\udfff]")  # a text with one cannot be encoded as UTF-8


class Document(NamedTuple):
    digest: str  # sha256 of the text with whitespace collapsed: equal digests mean the same document
    text: str


def versions() -> dict[str, str]:
    """Return the versions that the text depends on: of this file's format, Python and the libraries."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"format": str(FORMAT_VERSION), "python": platform.python_version(), **found}


def fingerprint() -> str:
    """Hash `versions()`: equal fingerprints mean equal text."""
    return hashlib.sha256(repr(sorted(versions().items())).encode()).hexdigest()[:16]


def load_python_docs() -> DatasetDict:
    """Load the data set, building it first (under a minute on two cores) if it is not cached.

    Returns splits `train` and `test` with columns `text` and `library`.
    """
    name = f"python-docs-{fingerprint()}"
    path = CACHE / name
    if not path.exists():
        path = _writable_cache() / name
    if not path.exists():
        with publish_directory(path) as partial:
            build_python_docs().save_to_disk(str(partial))
    loaded = load_from_disk(str(path))
    assert isinstance(loaded, DatasetDict)
    return loaded


def _writable_cache() -> Path:
    """Return the folder for the data set: the repository's, the user's where that is read-only, or one for now."""
    try:
        CACHE.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=CACHE).close()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return user_cache("text") or Path(_folder_for_now())
    return CACHE


@cache
def _folder_for_now() -> str:
    """Make a folder that goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="winnow-text-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build_python_docs() -> DatasetDict:
    """Collect every docstring with all cores, drop duplicates, and split by hash."""
    seen: set[str] = set()
    rows: list[tuple[str, str, str]] = []
    with ProcessPoolExecutor() as pool:
        for library, root in _roots().items():
            files = sorted(_python_files(root))
            for documents in pool.map(_documents_in, files, chunksize=16):
                for document in documents:
                    if document.digest not in seen:
                        seen.add(document.digest)
                        rows.append((document.digest, document.text, library))
    rows.sort()
    held_out = [int(digest[:8], 16) % HELD_OUT_IN == 0 for digest, _, _ in rows]
    return DatasetDict(
        {
            "train": _to_dataset(row for row, held in zip(rows, held_out, strict=True) if not held),
            "test": _to_dataset(row for row, held in zip(rows, held_out, strict=True) if held),
        }
    )


def docstrings(source: bytes) -> Iterator[str]:
    """Yield the docstrings of one Python source; none if it does not parse.

    String arguments of functions whose name contains "doc" count too: that is how numpy and torch document
    what is written in C.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # libraries contain templates and old Python 2 files
        return
    # most of a tree is expressions; visit them only if the file has a call to such a function
    nodes = ast.walk(tree) if _DOC_CALL.search(source) else _statements(tree)
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text
        elif isinstance(node, ast.Call) and "doc" in _called_name(node):
            for argument in node.args:
                for constant in ast.walk(argument):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                        yield inspect.cleandoc(constant.value)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the module and every statement in it, nested ones included, but not their expressions."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()  # breadth first, the order of ast.walk
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                waiting += inner


def _called_name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _documents_in(path: Path) -> list[Document]:
    texts = (text.strip() for text in docstrings(path.read_bytes()))
    return [
        Document(hashlib.sha256(" ".join(text.split()).encode()).hexdigest(), text)
        for text in texts
        if len(text) >= MIN_CHARACTERS and not _SURROGATE.search(text)
    ]


def _roots() -> dict[str, Path]:
    roots = {"stdlib": Path(sysconfig.get_path("stdlib"))}
    for library in LIBRARIES:
        spec = importlib.util.find_spec(library)
        if spec is None or spec.origin is None:
            raise ValueError(f"python-docs: {library} is not installed; run make setup")
        roots[library] = Path(spec.origin).parent
    return roots


def _python_files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*.py"):
        if SKIPPED_FOLDERS.isdisjoint(path.relative_to(root).parts):
            yield path


def _to_dataset(rows: Iterable[tuple[str, str, str]]) -> Dataset:
    kept = list(rows)
    return Dataset.from_dict({"text": [text for _, text, _ in kept], "library": [library for _, _, library in kept]})


if __name__ == "__main__":
    for split, part in load_python_docs().items():
        size = sum(len(text.encode()) for text in part["text"])
        print(f"{split}: {len(part):,} documents, {size / 1e6:.1f} MB")
