"""Decide whether there is anything to harvest, without waiting for torch where there is not."""

import json
from pathlib import Path

from harvest.plan import Plan, harvest_settings, plan_harvest
from winnow.config import Experiment
from winnow.errors import refuse_changed
from winnow.lock import run_lock
from winnow.run import Run, write_resolved
from winnow.tokens import open_tokens


def harvest(config: Experiment) -> None:
    """Write the run's activation shards, or say that they are there.

    Raises `UserError` where they were made with other settings, or the request cannot be met.
    """
    run = Run(Path(config.run))
    tokens = open_tokens(run.tokens)
    plan = plan_harvest(config, tokens)
    settings = harvest_settings(config, tokens, plan)
    folder = run.activations
    with run_lock(run.path):
        manifest = folder / "manifest.json"
        if manifest.exists():
            refuse_changed(folder, json.loads(manifest.read_text(encoding="utf-8"))["settings"], settings)
        if _complete(folder, plan):
            print(f"{folder}: all {plan.shards} shards are there; nothing to do")
            return
        from harvest.harvest import make_shards

        folder.mkdir(exist_ok=True)
        write_resolved(config)
        make_shards(config, tokens, plan, settings, folder)
        print(f"{folder}: {plan.shards} shards")


def _complete(folder: Path, plan: Plan) -> bool:
    sidecars = {path.name for path in folder.glob("shard-*.json")}
    return (folder / "statistics.h5").exists() and sidecars >= {f"shard-{n:05d}.json" for n in range(plan.shards)}
