"""Decide whether there is anything to train, before torch is imported."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from train.left_out import without_left_out
from train.plan import FAILED, Planned, plan_dictionaries, refuse_other_settings
from train.share import share_of
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.fields import read_fields
from winnow.runtime.hashes import change_hashes
from winnow.runtime.lock import claim, run_lock
from winnow.runtime.ranks import Ranks, this_rank
from winnow.runtime.run import Run, write_resolved
from winnow.shards.manifest import read_manifest
from winnow.shards.norms import refuse_without_norms


def train(config: Experiment, ranks: Ranks | None = None) -> None:
    """Train this rank's share of the run's dictionaries, or say that they are finished.

    Raises `UserError` if they were made with other settings, or the request cannot be met; `Interrupted` if a signal
    stopped the training, whose state is then saved.
    """
    ranks = ranks or this_rank()
    run = Run(Path(config.run))
    manifest = read_manifest(run.activations).written
    refuse_without_norms(run.activations, manifest, config.massive_norm)
    planned = plan_dictionaries(config, manifest, run.dictionaries)
    shares = config.train.shard_latents and ranks.total > 1
    with run_lock(run.path, shared=ranks.total > 1), ExitStack() as held:
        refuse_other_settings(planned)
        planned = without_left_out(planned, run.activations)
        mine = planned if shares or ranks.total == 1 else share_of(planned, ranks)
        if ranks.total > 1 and not shares:
            # skip those that another job trains
            mine = [p for p in mine if p.finished or held.enter_context(claim(p.folder))]
        unfinished = [p for p in mine if not p.finished and not p.failed]
        _record_killed([p for p in mine if p.finished], run)
        if unfinished:
            change_hashes(run.path, forget=[f"{p.folder.relative_to(run.path).as_posix()}/" for p in unfinished])
            with claim(run.path / "config.toml", wait=True):
                write_resolved(config)
            if shares:
                from train.sharded import train_shared

                train_shared(config, run.activations, unfinished, ranks)
            else:
                from train.sweep import train_all

                train_all(config, run.activations, unfinished, ranks)
        _report(run.dictionaries, planned if shares else mine, ranks, already=not unfinished)


def _record_killed(finished: list[Planned], run: Run) -> None:
    """Write down dictionaries that were complete when a training was killed before it could do so."""
    left = [p.folder for p in finished if (p.folder / "checkpoints").exists()]
    if left:
        from train.record import record_dictionaries

        record_dictionaries(run.path, left)
        for folder in left:
            shutil.rmtree(folder / "checkpoints")


def _report(folder: Path, planned: list[Planned], ranks: Ranks, already: bool) -> None:
    failed = [p for p in planned if p.failed]
    for p in failed:
        why = read_fields(p.folder / FAILED, f"delete {p.folder} to try again")
        kept = sorted((p.folder / "checkpoints").glob("rows-*[0-9]"))
        state = f"its last good state is in {kept[-1]}; " if kept else ""
        remedy = "a lower learning_rate" if p.settings.scale_activations else "train.scale_activations = true"
        print(
            f"{p.hook}/{p.name}: stopped at row {why.integer('rows', 0):,}, its loss was {why.text('loss')}; {state}"
            f"with the same settings it stops there again: choose {remedy}, and delete the folder"
        )
    done = len(planned) - len(failed)
    if not done and failed:
        raise UserError(f"{folder}: no dictionary could be trained; see the lines above")
    share = f" of rank {ranks.rank} of {ranks.total}" if ranks.total > 1 else ""
    old = [p for p in planned if p.begun_before]
    kept = f"; {len(old)} of them {'goes' if len(old) == 1 else 'go'} on as an older version began: " if old else ""
    kept += ", ".join(dict.fromkeys(f"encoder_start = {p.settings.encoder_start}, gradient_norm = 0" for p in old))
    print(f"{folder}: {done} dictionaries{share}" + (" are there; nothing to do" if already else "") + kept)
