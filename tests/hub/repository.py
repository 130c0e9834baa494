"""One repository of the hub: files by path, in commits, which branches and tags name."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

LARGE = (".safetensors", ".parquet", ".bin", ".pt", ".npz")  # kept in git LFS, as the hub's .gitattributes has it


class Commit(NamedTuple):
    """The files at one moment."""

    sha: str
    files: dict[str, bytes]  # by path

    def folders(self) -> set[str]:
        """Name every folder above a file."""
        return {str(above) for path in self.files for above in Path(path).parents} - {"."}


class Repository:
    """Commits by their hash, and the branches and tags that name one."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.commits: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}
        self.commit(files)

    def commit(self, changes: Mapping[str, bytes | None], branch: str = "main") -> str:
        """Move a branch on: write these files, or delete those that are None."""
        parent = self.refs.get(branch, "")
        before = self.commits[parent].files if parent else {}
        files = {path: data for path, data in {**before, **changes}.items() if data is not None}
        described = json.dumps([parent, sorted((path, oid(data)) for path, data in files.items())])
        sha = hashlib.sha1(described.encode()).hexdigest()
        self.commits[sha] = Commit(sha, files)
        self.refs[branch] = sha
        return sha

    def at(self, revision: str) -> Commit | None:
        """Find what a branch, a tag or a commit's hash names."""
        return self.commits.get(self.refs.get(revision, revision))

    @classmethod
    def of_folder(cls, folder: Path) -> "Repository":
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        return cls(files)


def is_large(path: str) -> bool:
    return path.endswith(LARGE)


def oid(data: bytes) -> str:
    """Compute git's own hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
