"""Expand patterns to the names of hook points.

python -m winnow.model.hooks --config configs/demo.toml      # list every hook of the model
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from winnow.config.experiment import Experiment
from winnow.errors import UserError, nearest
from winnow.runtime.stage import run_stage


def resolve_hooks(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Expand names and globs, in the order of `names`, each once.

    Raises `UserError` with the nearest names for a pattern that matches none.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise UserError(
                f"harvest.hooks: no hook {pattern}{nearest(pattern, names)}; "
                "python -m winnow.model.hooks --config FILE lists all"
            )
        chosen.update(matching)
    return [name for name in names if name in chosen]


def list_hooks(config: Experiment) -> None:
    """Print every hook name of the configured model."""
    # imported here, so that the stage can name a package that is missing
    from winnow.model.language_model import open_model

    print("\n".join(open_model(config.model).hooks))


if __name__ == "__main__":
    run_stage("winnow.model.hooks", list_hooks)
