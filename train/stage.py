"""Decide whether there is anything to train, without waiting for torch where there is not."""

import json
from pathlib import Path
from typing import Any

from train.plan import FAILED, Planned, plan_dictionaries, refuse_other_settings
from winnow.config import Experiment
from winnow.errors import UserError
from winnow.lock import run_lock
from winnow.run import Run, write_resolved


def train(config: Experiment) -> None:
    """Train the run's dictionaries, or say that they are there.

    Raises `UserError` where they were made with other settings, or the request cannot be met;
    `Interrupted` where a signal stopped it and its state is saved.
    """
    run = Run(Path(config.run))
    planned = plan_dictionaries(config, _manifest(run.activations), run.dictionaries)
    with run_lock(run.path):
        refuse_other_settings(planned)
        unfinished = [p for p in planned if not p.finished and not p.failed]
        if unfinished:
            from train.sweep import train_all

            write_resolved(config)
            train_all(config, run.activations, unfinished)
        _report(run.dictionaries, planned, already=not unfinished)


def _manifest(folder: Path) -> dict[str, Any]:
    """Read the harvest's manifest; where that fails, let the store say why, which takes longer to load."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return {**manifest, "hooks": dict(manifest["hooks"])}
    except (OSError, ValueError, KeyError):
        from winnow.store import read_manifest

        return read_manifest(folder)


def _report(folder: Path, planned: list[Planned], already: bool) -> None:
    failed = [p for p in planned if p.failed]
    for p in failed:
        why = json.loads((p.folder / FAILED).read_text(encoding="utf-8"))
        print(
            f"{p.hook}/{p.name}: stopped at row {why['rows']:,}, its loss was {why['loss']}; its last good state is "
            f"in {p.folder / 'checkpoints'}; choose a lower learning_rate, or delete the folder to try again"
        )
    done = len(planned) - len(failed)
    if not done:
        raise UserError(f"{folder}: no dictionary could be trained; see the lines above")
    print(f"{folder}: {done} dictionaries" + (" are there; nothing to do" if already else ""))
