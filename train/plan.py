"""Which dictionaries a configuration asks for, and how far each has come; read without waiting for torch.

dictionaries/<hook>/<name>/   name: architecture-n_latents-sparsity-seed, for instance topk-1024-k32-seed0
  cfg.json          there once it is finished
  training.json     settings and provenance
  failed.json       there where its loss was not finite: settings, rows, loss
  checkpoints/      state of the unfinished (train/checkpoint.py)
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from winnow.config import Dictionaries, Experiment, Train
from winnow.errors import UserError, nearest, refuse_changed

FAILED = "failed.json"


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
        "batch_rows": config.train.batch_rows,
        "warmup": config.train.warmup,
        "decay": config.train.decay,
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


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Hash what the activations are, as their manifest says."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def refuse_other_settings(planned: Iterable[Planned]) -> None:
    """Raise `UserError` naming the first setting in which what is on disk differs from what is asked for."""
    for dictionary in planned:
        folder = dictionary.folder
        for path in (folder / "training.json", folder / FAILED, *sorted(folder.glob("checkpoints/*/state.json"))):
            if path.exists():
                made_with = json.loads(path.read_text(encoding="utf-8"))["settings"]
                refuse_changed(folder, made_with, dictionary.settings)


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
    sparsity = "k" if grid.k else "l1_coefficient"
    for n_latents, value, seed in itertools.product(grid.n_latents, grid.k or grid.l1_coefficient or [], grid.seed):
        yield {
            "architecture": grid.architecture,
            "n_latents": n_latents,
            sparsity: value,
            "seed": seed,
            "learning_rate": grid.learning_rate,
        }


def _name(own: Mapping[str, Any]) -> str:
    sparsity = f"k{own['k']}" if "k" in own else f"l1_{own['l1_coefficient']:g}"
    usual = Dictionaries.model_fields["learning_rate"].default
    rate = "" if own["learning_rate"] == usual else f"-lr{own['learning_rate']:g}"
    return f"{own['architecture']}-{own['n_latents']}-{sparsity}{rate}-seed{own['seed']}"


def rows_between_logs(train: Train) -> int:
    """Choose how often the curve gets a point: 200 times, and never twice a batch."""
    return max(train.batch_rows, train.rows // 200)
