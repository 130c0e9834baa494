"""Hash the inputs of a report, to tell whether it is up to date without opening a model or a tensor.

This module does not import torch, so a stage with nothing to do ends at once.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from analyze.polytopes import Polytopes, read_polytopes
from winnow.config.experiment import Experiment
from winnow.dictionary_files import identity
from winnow.errors import UserError, refuse_changed
from winnow.model.identity import named_as
from winnow.positions import position_policy
from winnow.runtime.hashes import Noted, check_file, read_hashes
from winnow.runtime.run import Run, finished_dictionaries
from winnow.shards.fingerprint import made_with, with_left_out
from winnow.shards.manifest import MANIFEST, read_manifest
from winnow.shards.manifest import REMEDY as RESTORE
from winnow.shards.norms import bound_for, refuse_without_norms
from winnow.shards.sidecar import REPAIR
from winnow.shards.statistics import STATISTICS
from winnow.tokens import TokenFile, open_tokens

ANALYSIS = 13  # raise it when a metric's definition changes: all metrics are then measured again


class Inputs(NamedTuple):
    """Hashes of everything on which `metrics.json` depends.

    `evaluation`: held-out tokens, model and kept positions. `harvest`: the activations described.
    `dictionaries`: path below the run -> hash of its files. `polytopes`: experiment -> hash of its file; they enter
    the page alone.
    """

    evaluation: str
    harvest: str
    dictionaries: dict[str, str]
    polytopes: dict[str, str]

    @classmethod
    def of(cls, config: Experiment, tokens: TokenFile | None, polytopes: dict[str, str]) -> "Inputs":
        """Hash the inputs of a run's analysis; `polytopes` have hashes of their own.

        Raises `UserError` if the activations or finished dictionaries are missing, or if the activations were made
        from other tokens, another model or other positions.
        """
        run = Run(Path(config.run))
        read, record = read_manifest(run.activations), read_hashes(run.path)
        manifest = read.written
        refuse_changed(run.activations, made_with(manifest), _settings(config, tokens) | named_as(config, read))
        check_file(run.activations / MANIFEST, record.get(f"{run.activations.name}/{MANIFEST}"), RESTORE)
        refuse_without_norms(run.activations, manifest, config.massive_norm)
        if not (run.activations / STATISTICS).exists():
            raise UserError(f"{run.activations}: the harvest is not finished; run make harvest")
        check_file(run.activations / STATISTICS, record.get(f"{run.activations.name}/{STATISTICS}"), REPAIR)
        if tokens is not None:
            _refuse_too_many(config, tokens, tokens.sequences - manifest["tokens"]["sequences"])
        paths = [str(path.relative_to(run.path)) for path in finished_dictionaries(run.path)]
        if not paths:
            raise UserError(f"{run.dictionaries}: no finished dictionary; run make train first")
        return cls(
            _hash(
                [
                    ANALYSIS,
                    manifest["settings"],
                    manifest.get("model", manifest.get("toy")),
                    config.held_out,
                    bound_for(manifest, config.massive_norm),
                ]
            ),
            _hash([ANALYSIS, manifest, config.massive_norm]),
            {path: identity(run.path / path, _below(record, path)) for path in paths},
            polytopes,
        )


def run_tokens(config: Experiment) -> TokenFile | None:
    """Open the tokens of a run; None for toy data."""
    if config.toy is not None:
        return None
    run = Run(Path(config.run))
    made_of = read_manifest(run.activations).tokens if (run.activations / MANIFEST).exists() else None
    tokens = open_tokens(run.tokens)
    return tokens if made_of is None else tokens.named_as(made_of["fingerprint"])


def run_polytopes(config: Experiment) -> tuple[Polytopes, dict[str, str]]:
    """Read the results of the stage polytopes, and their hashes; none for toy data, which have no model."""
    run = Run(Path(config.run))
    if config.toy is not None or not run.polytopes.is_dir():
        return Polytopes(), {}
    manifest = read_manifest(run.activations)
    assert manifest.model is not None
    assert manifest.tokens is not None
    made_from = {"weights_sha256": manifest.model["weights_sha256"], "tokens": manifest.tokens["fingerprint"]}
    return read_polytopes(run.polytopes, made_from)


def evaluated(config: Experiment, tokens: TokenFile | None) -> dict[str, Any]:
    """Name what two runs must share for their dictionaries to be compared: the same rows of the same model."""
    manifest, policy = read_manifest(Run(Path(config.run)).activations).written, position_policy(config)
    bound = bound_for(manifest, config.massive_norm)
    if tokens is None:
        return {"the toy data": manifest["toy"], config.held_out_key: config.held_out, "massive_norm": bound}
    return {
        "the model": manifest["model"]["weights_sha256"],
        "model.dtype": config.model.dtype,
        "the text": tokens.fingerprint,
        "harvest.positions": policy.model_dump(mode="json"),
        "seed": config.seed if policy.random else None,
        config.held_out_key: config.held_out,
        "massive_norm": bound,
    }


def _below(record: Mapping[str, Noted], folder: str) -> dict[str, Noted]:
    prefix = f"{Path(folder).as_posix()}/"
    return {name.removeprefix(prefix): said for name, said in record.items() if name.startswith(prefix)}


def _refuse_too_many(config: Experiment, tokens: TokenFile, held_out: int) -> None:
    asked = config.held_out
    if asked > held_out:
        raise UserError(
            f"{config.held_out_key} = {asked}: {held_out} of the {tokens.sequences} sequences in {tokens.path} "
            "were held out; choose fewer, or a new run"
        )


def _settings(config: Experiment, tokens: TokenFile | None) -> dict[str, Any]:
    """Collect the settings that the activations and the evaluation must share."""
    if tokens is None:
        assert config.toy is not None
        return with_left_out({f"toy.{key}": value for key, value in config.toy.of_the_rows().items()})
    policy = position_policy(config)
    return {
        "model.dtype": config.model.dtype,
        "seed": config.seed if policy.random else None,
        "tokens.fingerprint": tokens.fingerprint,
        "harvest.positions": policy.model_dump(mode="json"),
    }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
