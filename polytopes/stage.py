"""Decide which experiments are due, before torch is imported."""

from pathlib import Path

from polytopes.keys import Keys
from winnow.config.experiment import Experiment
from winnow.config.polytopes import PolytopesSettings
from winnow.errors import UserError, refuse_changed
from winnow.model.identity import named_as
from winnow.runtime.lock import run_lock
from winnow.runtime.run import Run, write_resolved
from winnow.shards.fingerprint import made_with
from winnow.shards.manifest import read_manifest
from winnow.tokens import open_tokens


def polytopes(config: Experiment, if_configured: bool = False) -> None:
    """Make the experiments that are not there, or say that they are.

    `if_configured`: do nothing where the configuration has no table `[polytopes]`; else that means the defaults.
    Raises `UserError` for toy data, for settings that the model or its text does not meet, and where the run was
    harvested with other settings.
    """
    if config.toy is not None:
        if if_configured:
            print(f"{config.run}: toy data have no model, so there are no polytopes to measure")
            return
        raise UserError(f"{config.config}: toy data have no model, so there are no polytopes to measure")
    if config.polytopes is None and if_configured:
        print(f"{config.run}: no table [polytopes], so polytopes are not measured; make polytopes measures them")
        return
    settings = config.polytopes or PolytopesSettings()
    run = Run(Path(config.run))
    tokens = open_tokens(run.tokens)
    manifest = read_manifest(run.activations)
    if manifest.tokens is not None:
        tokens = tokens.named_as(manifest.tokens["fingerprint"])
    asked = {
        **named_as(config, manifest),
        "model.dtype": config.model.dtype,
        "tokens.fingerprint": tokens.fingerprint,
    }
    refuse_changed(run.activations, made_with(manifest.written), asked)
    try:
        settings.positions.refuse_beyond(tokens.context, "polytopes.positions")
    except ValueError as error:
        raise UserError(str(error)) from None
    keys = Keys.of(config, settings, manifest)
    if not keys.due():
        print(f"{run.polytopes}: {_all(settings)} there; nothing to do")
        return
    with run_lock(run.path):
        from polytopes.measure import measure
        from winnow.runtime.announce import announce
        from winnow.runtime.device import choose_device

        announce("polytopes", choose_device(config.model.device), {"model.dtype": config.model.dtype})
        write_resolved(config)
        made = measure(config, keys, tokens, manifest)
    print(f"{run.polytopes}: {_all(settings)} there; made {', '.join(made)}")


def _all(settings: PolytopesSettings) -> str:
    count = len(settings.experiments)
    return "the experiment is" if count == 1 else f"all {count} experiments are"
