"""Hash the content of a file, or of tensors such as a model's weights."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor


def hash_file(path: Path) -> str:
    """Compute the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensors(named: Iterable[tuple[str, Tensor]]) -> str:
    """Compute one sha256 over names, shapes, dtypes and bytes of tensors on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda item: item[0]):
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(flat.shape)} {flat.dtype}".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
