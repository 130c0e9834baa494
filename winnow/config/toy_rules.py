"""Refuse the settings that mean nothing beside `[toy]`: those of the language model and its text."""

from typing import Any

from pydantic import BaseModel

MEANINGFUL = {"model": {"device"}, "text": set[str](), "harvest": {"storage_dtype", "rows_per_shard"}}


def refuse_beside_toy(experiment: BaseModel) -> None:
    """Raise `ValueError` naming the first setting in use that means nothing for toy data."""
    for name, kept in MEANINGFUL.items():
        for key in sorted(getattr(experiment, name).model_fields_set - kept):
            raise ValueError(f"{name}.{key} has no meaning beside [toy], whose rows no model computes; remove either")
    if experiment.polytopes is not None:  # type: ignore[attr-defined]
        raise ValueError("polytopes has no meaning beside [toy]: toy data have no model; remove either")
    for number, grid in enumerate(experiment.train.dictionaries):  # type: ignore[attr-defined]
        if "singular" in grid.initialisation:
            raise ValueError(
                f"train.dictionaries.{number}.initialisation = singular reads the weights of a model, and [toy] has "
                "none; choose another"
            )
    features = experiment.analyze.features  # type: ignore[attr-defined]
    if features not in (["auto"], ["none"]):
        raise ValueError(
            f"analyze.features = {', '.join(features)}: feature pages show the text that a latent fires on, and [toy] "
            "has none; remove it"
        )


def without_meaningless(resolved: dict[str, Any]) -> dict[str, Any]:
    """Drop from a dumped experiment with `[toy]` the settings that `refuse_beside_toy` would refuse."""
    kept = {
        name: {key: value for key, value in resolved[name].items() if key in keys} for name, keys in MEANINGFUL.items()
    }
    return resolved | kept
