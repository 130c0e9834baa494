"""The second stage: tokens to activation shards and their manifest.

A shard is a pure function of model, tokens, settings and its number, so whatever is missing is made, and
what is there stays. The device computes a batch while a thread writes the one before.
"""

import json
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harvest.hooks import resolve_hooks, widths
from harvest.model import LanguageModel, open_model
from harvest.plan import Plan, bytes_per_row, refuse_without_space
from harvest.positions import kept_positions
from harvest.ranks import Ranks
from winnow.config import Experiment
from winnow.errors import UserError, refuse_changed
from winnow.lock import claim
from winnow.progress import Bar, progress_bar
from winnow.publish import publish_file, publish_text
from winnow.shard import RowIndex, ShardFile, read_sidecar, shard_path, write_shard
from winnow.statistics import merge_all, write_statistics
from winnow.store import FORMAT_VERSION, ActivationStore
from winnow.tokens import TokenFile

BATCHES_IN_FLIGHT = 2


def make_shards(
    config: Experiment, tokens: TokenFile, plan: Plan, settings: dict[str, Any], folder: Path, ranks: Ranks
) -> None:
    """Make every shard of the plan that is missing and this rank's; whoever sees them all merges the statistics."""
    model = open_model(config.model, ranks.local if ranks.total > 1 else None)
    hooks = resolve_hooks(config.harvest.hooks, model.hooks)
    if tokens.context > model.context:
        raise UserError(
            f"text.context = {tokens.context}: {config.model.name} reads {model.context} tokens at most; "
            "set text.context in a new run"
        )
    width = widths(model, hooks)
    with claim(folder / "manifest.json", wait=True):
        _write_manifest(config, tokens, plan, settings, folder, model, width)
    mine = [n for n in range(plan.shards) if ranks.owns(n)]
    missing = [n for n in mine if read_sidecar(shard_path(folder, n)) is None]
    kept = {n: _rows(config, tokens, plan, n) for n in missing}
    refuse_without_space(
        folder, bytes_per_row(width, config.harvest.storage_dtype), sum(len(i.token) for i in kept.values())
    )
    title = f"harvest {ranks.rank + 1}/{ranks.total}" if ranks.total > 1 else "harvest"
    total, left = (sum(stop - start for start, stop in map(plan.span, part)) for part in (mine, missing))
    with progress_bar(title, total * tokens.context, "tokens", (total - left) * tokens.context) as bar:
        for number in missing:
            with claim(shard_path(folder, number)) as free:
                # not free: a rank of another count is at it; there: such a rank was faster
                if free and read_sidecar(shard_path(folder, number)) is None:
                    _make_shard(model, width, config, tokens, plan, number, kept[number], folder, bar)
    with claim(folder / "statistics.h5", wait=True):
        if ActivationStore(folder).complete and not (folder / "statistics.h5").exists():
            _merge_statistics(folder)


def _make_shard(
    model: LanguageModel,
    width: Mapping[str, int],
    config: Experiment,
    tokens: TokenFile,
    plan: Plan,
    number: int,
    index: RowIndex,
    folder: Path,
    bar: Bar,
) -> None:
    start, stop = plan.span(number)
    batch = config.harvest.sequences_per_batch
    sequences = torch.from_numpy(tokens.read(start, stop))
    places = (index.sequence.long() - start) * tokens.context + index.position.long()  # ascending
    bounds = torch.searchsorted(places, torch.arange(0, stop - start + batch, batch) * tokens.context)
    with (
        write_shard(
            shard_path(folder, number), width, index, (start, stop), config.harvest.storage_dtype, tokens.context
        ) as shard,
        ThreadPoolExecutor(1) as writer,
    ):
        pending: deque[Future[None]] = deque()
        for i, chunk in enumerate(sequences.split(batch)):
            chosen = (places[bounds[i] : bounds[i + 1]] - i * batch * tokens.context).to(model.device)
            seen = model.activations(chunk, list(width))
            rows = {hook: value.flatten(0, 1).index_select(0, chosen) for hook, value in seen.items()}
            while len(pending) >= BATCHES_IN_FLIGHT:
                pending.popleft().result()
            pending.append(writer.submit(_append, shard, rows))
            bar.advance(chunk.numel())
        for future in pending:
            future.result()


def _append(shard: ShardFile, rows: Mapping[str, torch.Tensor]) -> None:
    shard.append({hook: values.cpu() for hook, values in rows.items()})


def _rows(config: Experiment, tokens: TokenFile, plan: Plan, number: int) -> RowIndex:
    start, stop = plan.span(number)
    sequences = tokens.read(start, stop)
    kept = kept_positions(plan.policy, sequences, start, config.seed)
    sequence, position = np.nonzero(kept)
    columns = (sequence + start, position, sequences[kept])
    return RowIndex(*(torch.from_numpy(column.astype(np.int32)) for column in columns))


def _write_manifest(
    config: Experiment,
    tokens: TokenFile,
    plan: Plan,
    settings: dict[str, Any],
    folder: Path,
    model: LanguageModel,
    width: Mapping[str, int],
) -> None:
    path = folder / "manifest.json"
    weights = model.weight_hash
    if path.exists():
        made = json.loads(path.read_text(encoding="utf-8"))["model"]["weights_sha256"]
        refuse_changed(folder, {"weights_sha256 of the model": made}, {"weights_sha256 of the model": weights})
        return
    manifest = {
        "format_version": FORMAT_VERSION,
        "model": {
            "name": config.model.name,
            "revision": config.model.revision,
            "dtype": config.model.dtype,
            "weights_sha256": weights,
        },
        "tokenizer": tokens.tokenizer,
        "text": tokens.text,
        "tokens": {"fingerprint": tokens.fingerprint, "sequences": plan.sequences, "bos": tokens.bos},
        "hooks": dict(width),
        "context": tokens.context,
        "storage_dtype": config.harvest.storage_dtype,
        "rows_per_shard": config.harvest.rows_per_shard,
        "positions": plan.policy.model_dump(mode="json"),
        "shards": plan.shards,
        "settings": settings,
    }
    publish_text(path, json.dumps(manifest, indent=1) + "\n")


def _merge_statistics(folder: Path) -> None:
    store = ActivationStore(folder)
    merged = {
        hook: merge_all(store.shard_statistics(hook), width, store.context) for hook, width in store.hooks.items()
    }
    with publish_file(folder / "statistics.h5") as partial:
        write_statistics(partial, merged)
