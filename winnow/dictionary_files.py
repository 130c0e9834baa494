"""The files of a run's dictionaries: which are finished, and what they hash to. Nothing here imports torch."""

import hashlib
from pathlib import Path

from winnow.runtime.run import Run


def finished_dictionaries(run: Run) -> list[Path]:
    """List the folders of finished dictionaries, in order of hook and name."""
    return sorted(path.parent for path in run.dictionaries.glob("*/*/cfg.json"))


def hash_folder(folder: Path) -> str:
    """Hash a dictionary's configuration, provenance and curve, and the size of its weights, which those describe."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".jsonl")):
        digest.update(path.name.encode() + path.read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()
