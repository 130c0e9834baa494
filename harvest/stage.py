"""Decide whether there is anything to harvest, without waiting for torch where there is not."""

import sys
from pathlib import Path

from harvest.plan import Plan, harvest_settings, plan_harvest, plan_toy, toy_settings
from winnow.config.experiment import Experiment
from winnow.errors import UserError, refuse_changed
from winnow.runtime.lock import claim, run_lock
from winnow.runtime.ranks import Ranks, this_rank
from winnow.runtime.run import Run, write_resolved
from winnow.shards.fingerprint import made_with, with_left_out
from winnow.shards.manifest import MANIFEST, read_manifest
from winnow.tokens import open_tokens


def harvest(config: Experiment, ranks: Ranks | None = None, repair: bool = False) -> None:
    """Write the run's activation shards, this rank's share of them, or say that they are there.

    `repair`: hash those that are there first, and make the damaged ones again.
    Raises `UserError` where they were made with other settings, or the request cannot be met.
    """
    ranks = ranks or this_rank()
    run = Run(Path(config.run))
    if config.toy is None:
        tokens = open_tokens(run.tokens)
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
        if (folder / MANIFEST).exists():
            refuse_changed(folder, made_with(read_manifest(folder).written), with_left_out(settings))
        if repair:
            _drop_damaged(folder)
        if _complete(folder, plan) and all(path.exists() for path in besides):
            print(f"{folder}: all {plan.shards} shards are there; nothing to do")
            return
        from harvest.make_shards import make_shards

        folder.mkdir(exist_ok=True)
        with claim(run.path / "config.toml", wait=True):
            write_resolved(config)
        make_shards(config, tokens, plan, settings, folder, ranks)
        there = len(_sidecars(folder, plan))
        rest = "" if there == plan.shards else "; the others are for other ranks"
        print(f"{folder}: {there} of {plan.shards} shards are there{rest}")


def _drop_damaged(folder: Path) -> None:
    """Delete each shard whose bytes are not those that its sidecar says; an unreadable sidecar counts as none."""
    from winnow.store import finished_shards, verify_shard

    for path, sidecar in finished_shards(folder, read_manifest(folder).shards):
        try:
            verify_shard(path, sidecar)
        except UserError as damage:
            print(f"{str(damage).split(';')[0]}; made again", file=sys.stderr)
            path.with_suffix(".json").unlink()
            path.unlink(missing_ok=True)


def _complete(folder: Path, plan: Plan) -> bool:
    made = all((folder / name).exists() for name in (MANIFEST, "statistics.h5"))
    return made and len(_sidecars(folder, plan)) == plan.shards


def _sidecars(folder: Path, plan: Plan) -> set[str]:
    return {f"shard-{n:05d}.json" for n in range(plan.shards)} & {path.name for path in folder.glob("shard-*.json")}
