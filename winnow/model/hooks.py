"""Expand patterns to the names of the hooks that can be harvested.

python -m winnow.model.hooks --config configs/demo.toml      # list them
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from winnow.config.experiment import Experiment
from winnow.errors import UserError, nearest
from winnow.runtime.stage import run_stage

LIST = "python -m winnow.model.hooks --config FILE lists all"


def resolve_hooks(patterns: Iterable[str], names: Sequence[str], refused: Mapping[str, str] | None = None) -> list[str]:
    """Expand names and globs, in the order of `names`, each once.

    refused: why further hooks cannot be harvested, by name. Raises `UserError` for a pattern that matches none but
    these, with the reason, and with the nearest names for one that matches nothing.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            _refuse(pattern, names, refused or {})
        chosen.update(matching)
    return [name for name in names if name in chosen]


def left_out(patterns: Iterable[str], refused: Mapping[str, str]) -> list[str]:
    """Say in one line for each glob how many hooks it leaves out because they cannot be harvested, and why."""
    lines = []
    for pattern in patterns:
        matching = [name for name in refused if fnmatchcase(name, pattern)]
        if matching:
            more = f" and {len(matching) - 1} more" if len(matching) > 1 else ""
            lines.append(f"harvest.hooks: {pattern} leaves out {matching[0]}{more}: {refused[matching[0]]}")
    return lines


def list_hooks(config: Experiment) -> None:
    """Print the name of every hook of the configured model that can be harvested; for toy data their one hook."""
    # both imported here, so that the stage can name a package that is missing
    if config.toy is not None:
        from winnow.toy.truth import HOOK

        print(HOOK)
        return
    from winnow.model.language_model import open_model

    model = open_model(config.model)
    model.refuse_reading_ahead(config.model.name)
    print("\n".join(model.hooks))
    if model.refused:
        print(f"{len(model.refused)} more cannot be harvested; naming one in harvest.hooks says why", file=sys.stderr)


def _refuse(pattern: str, names: Sequence[str], refused: Mapping[str, str]) -> None:
    there = [name for name in refused if fnmatchcase(name, pattern)]
    if there:
        several = "" if there == [pattern] else f"{pattern} matches no hook that can be harvested; "
        raise UserError(f"harvest.hooks: {several}{there[0]}: {refused[there[0]]}; {LIST}")
    raise UserError(f"harvest.hooks: no hook {pattern}{nearest(pattern, names)}; {LIST}")


if __name__ == "__main__":
    run_stage("winnow.model.hooks", list_hooks, resumes=False)
