"""Decide whether there is anything to harvest, without waiting for torch where there is not."""

import sys
from collections.abc import Sequence
from pathlib import Path

from harvest.plan import (
    Plan,
    harvest_settings,
    plan_harvest,
    plan_toy,
    refuse_without_positions,
    toy_settings,
)
from winnow.config.experiment import Experiment
from winnow.errors import UserError, refuse_changed
from winnow.model.identity import named_as
from winnow.runtime.hashes import Noted, change_hashes, check_file, check_size, read_hashes
from winnow.runtime.lock import claim, run_lock
from winnow.runtime.ranks import Ranks, this_rank
from winnow.runtime.run import Run, write_resolved
from winnow.shards.fingerprint import fingerprints, made_with, with_left_out
from winnow.shards.manifest import MANIFEST, mixture, read_manifest
from winnow.shards.sidecar import REPAIR, read_sidecar, shard_path
from winnow.shards.statistics import STATISTICS
from winnow.tokens import open_tokens


def harvest(config: Experiment, ranks: Ranks | None = None, repair: bool = False) -> None:
    """Write the run's activation shards, this rank's share of them, or say that they are there.

    `repair`: hash those that are there first, and make the damaged ones again.
    Raises `UserError` where they were made with other settings, or the request cannot be met.
    """
    ranks = ranks or this_rank()
    run = Run(Path(config.run))
    manifest = read_manifest(run.activations) if (run.activations / MANIFEST).exists() else None
    if config.toy is None:
        tokens = open_tokens(run.tokens)
        if manifest is not None and manifest.tokens is not None:
            tokens = tokens.named_as(manifest.tokens["fingerprint"])
        plan = plan_harvest(config, tokens)
        settings = harvest_settings(config, tokens, plan)
        besides = []
    else:
        tokens = None
        plan = plan_toy(config.toy, config.harvest.rows_per_shard)
        settings = toy_settings(config, config.toy)
        besides = [run.truth / "cfg.json"]
    folder = run.activations
    with run_lock(run.path, shared=ranks.total > 1):
        if manifest is not None:
            refuse_changed(folder, made_with(manifest.written), with_left_out(settings) | named_as(config, manifest))
        if repair:
            _drop_damaged(folder, ranks)
        if _complete(folder, plan) and all(path.exists() for path in besides):
            _keep_hashes(folder, besides)
            _say_mixture(folder)
            print(f"{folder}: all {plan.shards} shards are there; nothing to do")
            return
        from harvest.make_shards import make_shards

        if tokens is not None:
            tokens.verify()
            refuse_without_positions(config, tokens, plan)
        folder.mkdir(exist_ok=True)
        with claim(run.path / "config.toml", wait=True):
            write_resolved(config)
        make_shards(config, tokens, plan, settings, folder, ranks)
        there = len(_sidecars(folder, plan))
        _say_mixture(folder)
        rest = "" if there == plan.shards else "; the others are for other ranks"
        print(f"{folder}: {there} of {plan.shards} shards are there{rest}")


def _say_mixture(folder: Path) -> None:
    found = mixture(read_manifest(folder).devices)
    if found:
        print(f"{folder}: {found}")


def _drop_damaged(folder: Path, ranks: Ranks) -> None:
    """Delete what is not as it was written: each shard by its sidecar, sidecars and statistics by the run's record.

    An unreadable sidecar counts as none. Statistics that cannot be read go too. Ranks may do so at the same time: each
    looks at all shards, beginning with one of its own, and holds the claim of a shard from the first look to the last
    deletion. So none deletes what another has just made, and none goes on while there is damage.
    """
    from winnow.store import ActivationStore

    if not (folder / MANIFEST).exists():
        return
    manifest = read_manifest(folder)
    made_by = fingerprints(manifest.written)
    shards = [shard_path(folder, number) for number in range(manifest.shards)]
    shards = shards[ranks.rank :] + shards[: ranks.rank]
    there = 0
    for path in shards:
        own = path.with_suffix(".json")
        with claim(path, wait=own.exists()) as free:  # without a sidecar and not free: another rank is making it
            if free and _is_damaged(path, made_by):
                _drop(own, path)
            there += free and own.exists()
    path = folder / STATISTICS
    with claim(path, wait=True):
        try:
            check_file(
                path, read_hashes(folder.parent).get(f"{folder.name}/{STATISTICS}") if path.exists() else None, REPAIR
            )
            if path.exists() and there == len(shards):
                store = ActivationStore(folder)
                for hook in store.hooks:
                    store.statistics(hook)
        except UserError as damage:
            _say_again(damage)
            _drop(path)


def _drop(*paths: Path) -> None:
    """Delete files of the store, and take them out of the run's record."""
    for path in paths:
        path.unlink(missing_ok=True)
    change_hashes(paths[0].parent.parent, forget=[f"{path.parent.name}/{path.name}" for path in paths])


def _is_damaged(path: Path, made_by: Sequence[str]) -> bool:
    """Hash a shard and its sidecar; where they are not as they were written, say so."""
    from winnow.shards.finished import verify_shard

    own = path.with_suffix(".json")
    try:
        record = read_hashes(path.parent.parent)
        check_file(own, record.get(f"{path.parent.name}/{own.name}") if own.exists() else None, REPAIR)
        sidecar = read_sidecar(path)
        if sidecar is None:
            return False
        if sidecar.manifest not in ("", *made_by):
            raise UserError(f"{own}: made by another manifest; {REPAIR}")
        verify_shard(path, sidecar)
    except UserError as damage:
        _say_again(damage)
        return True
    return False


def _say_again(damage: UserError) -> None:
    print(f"{str(damage).split(';')[0]}; made again", file=sys.stderr)


def _complete(folder: Path, plan: Plan) -> bool:
    """Tell whether manifest, statistics and every shard are there; sizes are looked at, and no bytes.

    Raises `UserError` where a sidecar cannot be read, belongs to another manifest, or its shard has another size.
    """
    if not all((folder / name).exists() for name in (MANIFEST, STATISTICS)):
        return False
    made_by = fingerprints(read_manifest(folder).written)
    there, others = 0, []
    for number in range(plan.shards):
        path = shard_path(folder, number)
        sidecar = read_sidecar(path)
        if sidecar is None:
            continue
        if sidecar.manifest not in ("", *made_by):
            others.append(f"{path.with_suffix('.json')}: made by another manifest ({sidecar.manifest})")
        check_size(path, Noted(sidecar.bytes, sidecar.sha256), REPAIR, "its sidecar")
        there += 1
    if there == plan.shards and others:
        raise UserError(
            f"{others[0]} than {folder / MANIFEST} ({made_by[0]}); "
            f"restore that one, or delete {folder} and run make harvest"
        )
    return there == plan.shards


def _keep_hashes(folder: Path, besides: list[Path]) -> None:
    """Write down what was complete when a harvest was killed before it could do so; older ones are left as they are."""
    sidecar = read_sidecar(shard_path(folder, 0))
    if sidecar is None or not sidecar.manifest or f"{folder.name}/{STATISTICS}" in read_hashes(folder.parent):
        return
    from harvest.make_shards import record_harvest

    record_harvest(folder, besides[0].parent if besides else None)


def _sidecars(folder: Path, plan: Plan) -> set[str]:
    return {f"shard-{n:05d}.json" for n in range(plan.shards)} & {path.name for path in folder.glob("shard-*.json")}
