"""Hash the files of a model in a local folder: weights, configuration, tokenizer. Nothing here imports torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from winnow.runtime.hashes import hash_file
from winnow.runtime.remembered import remembered_hash

CONFIG = "config.json"
WEIGHTS = ("*.safetensors", "*.bin")  # the first kind that is there counts
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab.*", "merges.txt", "*.model", "*.tiktoken"),
)
PASSING = {  # of config.json and tokenizer_config.json: where a model came from, and what wrote it
    *("_name_or_path", "name_or_path", "transformers_version", "_commit_hash", "tokenizer_file", "cache_dir"),
    *("torch_dtype", "dtype", "local_files_only", "is_local"),
}


def config_hash(folder: Path) -> str:
    """Hash what config.json says of the model; "" where there is none."""
    path = folder / CONFIG
    return hashlib.sha256(_lasting(path)).hexdigest() if path.is_file() else ""


def tokenizer_hash(folder: Path) -> str:
    """Hash the files of a tokenizer; "" where there is none."""
    paths = sorted({path for pattern in TOKENIZER for path in folder.glob(pattern) if path.is_file()})
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {hashlib.sha256(_lasting(path)).hexdigest()}\n".encode())
    return digest.hexdigest() if paths else ""


def files_hash(run: Path, folder: Path) -> str:
    """Hash the files of a local model's weights and its config.json, or remember it; "" where there are no weights."""
    paths = next((found for pattern in WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
    if not paths or not (folder / CONFIG).is_file():
        return ""
    digest = hashlib.sha256(f"{CONFIG} {hash_file(folder / CONFIG)}\n".encode())
    for path in [*paths, *sorted(folder.glob("*.index.json"))]:
        digest.update(f"{path.name} {remembered_hash(run, path)}\n".encode())
    return digest.hexdigest()


def _lasting(path: Path) -> bytes:
    """Give the content of a file; of a configuration, what it says of the model itself."""
    content = path.read_bytes()
    if path.name not in (CONFIG, "tokenizer_config.json"):
        return content
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return content
    return json.dumps(_without_passing(said), sort_keys=True).encode()


def _without_passing(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    return {name: _without_passing(value) for name, value in said.items() if name not in PASSING}
