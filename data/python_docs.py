"""The built-in text: docstrings of the standard library, numpy, torch and transformers.

Real technical English that is on every machine on which winnow is installed, so nothing has to be
downloaded. One document per docstring. Sources are parsed, never imported: a docstring is found where
the language puts it (module, class, function) and where C extensions get theirs (`add_docstr(f, "…")`,
`add_newdoc("numpy", "ndarray", "…")`).

    python -m data.python_docs          # build it, and print what is in it

Two splits, `train` and `test`: a document is held out when the hash of its text says so, hence the
same document lands on the same side whatever else is installed. Within a split documents are in the
order of their hashes, which mixes the four libraries evenly.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import platform
import re
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, DatasetDict, load_from_disk

from winnow.runtime.publish import publish_directory

LIBRARIES = ("numpy", "torch", "transformers")
CACHE = Path(__file__).parents[1] / ".cache"
FORMAT_VERSION = 1
MIN_CHARACTERS = 80  # shorter ones are labels ("Return the name."), not text
HELD_OUT_IN = 20  # one document in so many is held out
SKIPPED_FOLDERS = {"site-packages", "test", "tests", "idle_test"}
_DOC_CALL = re.compile(rb"doc\w*\s*\(")
_SURROGATE = re.compile("[\ud800-\udfff]")  # such a text has no UTF-8 form


class Document(NamedTuple):
    digest: str  # sha256 of the text with its whitespace folded: what "the same document" means
    text: str


def versions() -> dict[str, str]:
    """Name what the text depends on: the versions of Python and of the libraries, and of this file."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"format": str(FORMAT_VERSION), "python": platform.python_version(), **found}


def fingerprint() -> str:
    """Hash `versions()`: equal fingerprints mean equal text."""
    return hashlib.sha256(repr(sorted(versions().items())).encode()).hexdigest()[:16]


def load_python_docs() -> DatasetDict:
    """Load the data set, building it first (under a minute on two cores) where it is not cached.

    Returns splits `train` and `test` with columns `text` and `library`.
    """
    path = CACHE / f"python-docs-{fingerprint()}"
    if not path.exists():
        with publish_directory(path) as partial:
            build_python_docs().save_to_disk(str(partial))
    loaded = load_from_disk(str(path))
    assert isinstance(loaded, DatasetDict)
    return loaded


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
    """Yield the docstrings of one Python source, none where it does not parse.

    Besides the language's own, strings of at least `MIN_CHARACTERS` handed to a function whose name
    contains "doc" count: that is how numpy and torch document what is written in C.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # templates and Python 2 leftovers are among a library's files
        return
    # most of a tree is expressions; they are worth visiting only where a string may be handed to such a function
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
    """Yield the module and every statement in it, nested ones included, without their expressions."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()  # level by level, in the order of ast.walk
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
