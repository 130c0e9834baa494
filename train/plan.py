"""Which dictionaries a configuration asks for, and how far each has come; read without waiting for torch.

dictionaries/<hook>/<name>/   name: architecture-n_latents-sparsity-seed, for instance topk-1024-k32-seed0
  cfg.json          there once it is finished
  training.json     settings and provenance
  failed.json       there where its loss was not finite: settings, rows, loss
  checkpoints/      state of the unfinished (train/checkpoint.py)
  snapshots/        dictionaries as they were on the way, where asked for (train/snapshots.py)
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from train.schedule import CONVERGED, fewest_rows
from winnow.config.experiment import Dictionaries, Experiment, TrainSettings
from winnow.errors import UserError, nearest, refuse_changed
from winnow.shards.manifest import fingerprint

FAILED = "failed.json"
SPARSITY = {"k": "k", "l1_coefficient": "l1_", "l0_coefficient": "l0_"}  # setting -> how a name begins to say it
ABBREVIATIONS = {
    "learning_rate": "lr",
    "bandwidth": "bandwidth",
    "auxk_coefficient": "auxk",
    "resample_rows": "resample",
}
BANDWIDTH = 0.1  # of activations with mean norm sqrt(d_model)
AUXK = 1 / 32  # Gao et al. 2024
AUTO = "auto"  # rows between resamplings: an eighth of the training's
MAX_ROWS = 200_000_000
LEGACY_DEFAULTS = {"scale_activations": True}  # what was so before there was a setting
NAME_DEFAULTS = {"bandwidth": BANDWIDTH, "auxk_coefficient": AUXK, "resample_rows": AUTO}


class Planned(NamedTuple):
    """One dictionary to be: where it goes, and all that its weights depend on."""

    hook: str
    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def finished(self) -> bool:
        return (self.folder / "cfg.json").exists()

    @property
    def failed(self) -> bool:
        return (self.folder / FAILED).exists()


def plan_dictionaries(config: Experiment, manifest: Mapping[str, Any], folder: Path) -> list[Planned]:
    """List every dictionary that the configuration asks for, by hook in the order of the harvest.

    Raises `UserError` for a pattern that matches no harvested hook, and for two dictionaries of one name.
    """
    if not config.train.dictionaries:
        raise UserError("train.dictionaries: none is asked for; add a table [[train.dictionaries]]")
    shared = {
        "rows": config.train.rows,
        **_end(config.train),
        "batch_rows": config.train.batch_rows,
        "scale_activations": config.train.scale_activations,
        "compute_dtype": config.train.compute_dtype,
        "warmup": config.train.warmup,
        "decay": config.train.decay,
        "held_out_rows": config.train.held_out_rows,
        "window_mib": config.train.window_mib,
        "order seed": config.seed,
        "activations": fingerprint(manifest),
    }
    planned: dict[Path, Planned] = {}
    for number, grid in enumerate(config.train.dictionaries):
        for hook in _matching(grid.hooks, list(manifest["hooks"]), f"train.dictionaries.{number}.hooks"):
            for own in _combinations(grid):
                path = folder / hook / _name(own)
                if path in planned:
                    raise UserError(
                        f"train.dictionaries.{number}: {hook}/{path.name} is asked for twice; remove one of them"
                    )
                planned[path] = Planned(hook, path, own | shared)
    order = list(manifest["hooks"])
    return sorted(planned.values(), key=lambda p: order.index(p.hook))


def _end(train: TrainSettings) -> dict[str, Any]:
    """Name what decides on the end of a training that is to converge, and by what every one is judged."""
    ceiling = {"max_rows": MAX_ROWS if train.max_rows is None else train.max_rows} if train.rows == CONVERGED else {}
    return {**ceiling, "slope_bound": train.slope_bound, "similarity_bound": train.similarity_bound}


def refuse_other_settings(planned: Iterable[Planned]) -> None:
    """Raise `UserError` naming the first setting in which what is on disk differs from what is asked for."""
    for dictionary in planned:
        folder = dictionary.folder
        # a kill may leave half a checkpoint in a .partial, which the names of complete ones do not match
        states = sorted(folder.glob("checkpoints/rows-*[0-9]/state.json"))
        for path in (folder / "training.json", folder / FAILED, *states):
            if path.exists():
                made_with = json.loads(path.read_text(encoding="utf-8"))["settings"]
                refuse_changed(folder, {**LEGACY_DEFAULTS, **made_with}, dictionary.settings)


def _matching(patterns: Iterable[str], hooks: list[str], key: str) -> list[str]:
    chosen: list[str] = []
    for pattern in patterns:
        matching = [hook for hook in hooks if fnmatchcase(hook, pattern)]
        if not matching:
            raise UserError(
                f"{key}: no harvested hook {pattern}{nearest(pattern, hooks)}; harvested are {', '.join(hooks)}"
            )
        chosen += [hook for hook in matching if hook not in chosen]
    return chosen


def _combinations(grid: Dictionaries) -> Iterable[dict[str, Any]]:
    sparsity = next(name for name in SPARSITY if getattr(grid, name))
    options: dict[str, Any] = {"tied": grid.tied} if grid.tied else {}
    if grid.l1_reduction == "mean":
        options["l1_reduction"] = "mean"
    if grid.architecture == "jumprelu":
        options["bandwidth"] = BANDWIDTH if grid.bandwidth is None else grid.bandwidth
    if grid.architecture in ("relu", "gated"):
        options["resample_rows"] = AUTO if grid.resample_rows is None else grid.resample_rows
    if sparsity == "k":
        options["auxk_coefficient"] = AUXK if grid.auxk_coefficient is None else grid.auxk_coefficient
    lists = (grid.n_latents, getattr(grid, sparsity), grid.initialisation, grid.seed)
    for n_latents, value, initialisation, seed in itertools.product(*lists):
        yield {
            "architecture": grid.architecture,
            "n_latents": n_latents,
            sparsity: value,
            "seed": seed,
            "learning_rate": grid.learning_rate,
            "initialisation": initialisation,
            "b_dec": grid.b_dec,
            **options,
        }


def _name(own: Mapping[str, Any]) -> str:
    """Name a dictionary by its architecture, size, sparsity and seed, and by what else is not usual about it."""
    sparsity = next(name for name in SPARSITY if name in own)
    usual = {"learning_rate": Dictionaries.model_fields["learning_rate"].default} | NAME_DEFAULTS
    unusual = [
        f"{ABBREVIATIONS[name]}{own[name]:g}" for name in ABBREVIATIONS if name in own and own[name] != usual[name]
    ]
    parts = [
        own["architecture"] + ("-tied" if own.get("tied") else ""),
        own["n_latents"],
        f"{'l1mean_' if own.get('l1_reduction') == 'mean' else SPARSITY[sparsity]}{own[sparsity]:g}",
        *unusual,
        *([] if own["initialisation"] == "random" else [own["initialisation"]]),
        *([] if own["b_dec"] == "mean" else ["no_b_dec" if own["b_dec"] == "none" else own["b_dec"]]),
        f"seed{own['seed']}",
    ]
    return "-".join(map(str, parts))


def rows_between_logs(train: TrainSettings) -> int:
    """Choose how often the curve gets a point: 200 times by the earliest end, and never twice a batch."""
    return max(train.batch_rows, int(fewest_rows({"rows": train.rows, **_end(train)})) // 200)
