"""The second stage: tokens to activation shards, their manifest and their statistics.

A shard is a pure function of model, tokens, settings and its number, so whatever is missing is made, and
what is there stays.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harvest.background import BackgroundShard
from harvest.forward import Forward, forward_passes
from harvest.hooks import resolve_hooks, widths
from harvest.model import LanguageModel, open_model
from harvest.plan import Plan, bytes_per_row, most_per_sequence, refuse_without_space
from harvest.shard import make_shard
from winnow.config import Experiment
from winnow.errors import UserError, refuse_changed
from winnow.lock import claim
from winnow.progress import progress_bar
from winnow.publish import publish_file, publish_text
from winnow.ranks import Ranks
from winnow.shard import read_sidecar, shard_path
from winnow.statistics import merge_all, write_statistics
from winnow.store import FORMAT_VERSION, ActivationStore
from winnow.threads import thread_pool
from winnow.tokens import TokenFile

SHARDS_IN_FLIGHT = 2  # one is computed while the one before is hashed and put on the disk


def make_shards(
    config: Experiment, tokens: TokenFile, plan: Plan, settings: dict[str, Any], folder: Path, ranks: Ranks
) -> None:
    """Make every shard of the plan that is missing and this rank's; whoever sees them all merges the statistics."""
    model = open_model(config.model, ranks)
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
    total, left = (sum(stop - start for start, stop in map(plan.span, part)) for part in (mine, missing))
    per_sequence = most_per_sequence(plan.policy, tokens.context)
    refuse_without_space(folder, bytes_per_row(width, config.harvest.storage_dtype), left * per_sequence)
    title = f"harvest {ranks.rank + 1}/{ranks.total}" if ranks.total > 1 else "harvest"
    compile_for = config.harvest.sequences_per_batch if config.harvest.compile else None
    with (
        progress_bar(title, total * tokens.context, "tokens", (total - left) * tokens.context) as bar,
        forward_passes(model, hooks, compile_for) as forward,
    ):
        make_missing(forward, width, config, tokens, plan, missing, folder, bar.advance)
    with claim(folder / "statistics.h5", wait=True):
        if ActivationStore(folder).complete and not (folder / "statistics.h5").exists():
            _merge_statistics(folder)


def make_missing(
    forward: Forward,
    width: Mapping[str, int],
    config: Experiment,
    tokens: TokenFile,
    plan: Plan,
    numbers: Iterable[int],
    folder: Path,
    advance: Callable[[int], None],
) -> None:
    """Make the shards of these numbers that no other process makes; `advance` is told the tokens of each batch."""
    # one torch thread each: with more, they would keep the model's own from their cores
    with thread_pool(SHARDS_IN_FLIGHT, torch_threads=1) as pool:
        writing: deque[BackgroundShard] = deque()
        for number in numbers:
            held = ExitStack()
            free = held.enter_context(claim(shard_path(folder, number)))
            if not free or read_sidecar(shard_path(folder, number)) is not None:
                held.close()  # a rank of another count is at it, or was faster
                continue
            if len(writing) == SHARDS_IN_FLIGHT:
                writing.popleft().wait()
            writing.append(make_shard(forward, width, config, tokens, plan, number, folder, pool, held, advance))
        for shard in writing:
            shard.wait()


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
