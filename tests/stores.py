"""Small activation stores for tests: planted features, written as a harvest writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from harvest.make_shards import merge_statistics
from harvest.write_shard import write_shard
from winnow.shards.layout import RowIndex, shard_path
from winnow.shards.manifest import write_manifest
from winnow.store import ActivationStore


def write_store(
    folder: Path,
    activations: Mapping[str, Float[Tensor, "row width"]],
    *,
    context: int = 16,
    rows_per_shard: int = 512,
    dtype: str = "float32",
    settings: Mapping[str, object] | None = None,
    dropped: Sequence[int] = (),
) -> ActivationStore:
    """Write rows of hooks as a finished harvest of sequences of `context` tokens.

    Every position is kept but for those of the rows `dropped`; token i is the i-th row, dropped ones counted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hooks = {hook: values.shape[1] for hook, values in activations.items()}
    place = torch.arange(len(next(iter(activations.values()))), dtype=torch.int32)
    kept = ~torch.isin(place, torch.tensor(dropped, dtype=torch.int32))
    activations = {hook: values[kept] for hook, values in activations.items()}
    place = place[kept]
    rows = len(place)
    starts = range(0, rows, rows_per_shard)
    write_manifest(
        folder,
        made_from={
            "model": {"name": "planted", "revision": "main", "dtype": "float32", "weights_sha256": "0" * 64},
            "tokenizer": "planted",
            "text": "planted",
            "tokens": {"fingerprint": "planted", "sequences": -(-rows // context), "bos": 0},
            "positions": {"skip_first": 0},
        },
        hooks=hooks,
        context=context,
        storage_dtype=dtype,
        rows_per_shard=rows_per_shard,
        shards=len(starts),
        settings=settings or {},
    )
    for number, start in enumerate(starts):
        part = slice(start, min(rows, start + rows_per_shard))
        index = RowIndex(place[part] // context, place[part] % context, place[part])
        sequences = (start // context, -(-part.stop // context))
        with write_shard(shard_path(folder, number), hooks, index, sequences, dtype, context) as shard:
            shard.append({hook: values[part] for hook, values in activations.items()})
    merge_statistics(folder)
    return ActivationStore(folder)


def planted(rows: int, d: int, features: int, active: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw rows [row, d] of `active` features on average, each with its unit direction [features, d]."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(features, d, generator=generator), dim=1)
    fires = torch.rand(rows, features, generator=generator) < active / features
    magnitudes = fires * (0.5 + torch.rand(rows, features, generator=generator))
    return magnitudes @ directions + 0.1, directions
