"""How toy data are cut into shards, and what the bytes of those depend on; computed without torch."""

from typing import Any

from harvest.plan import Plan
from winnow.config.experiment import Experiment, PositionPolicy
from winnow.config.toy import ToySettings


def plan_toy(toy: ToySettings, rows_per_shard: int) -> Plan:
    """Cut the rows into shards; a sequence is one row."""
    return Plan(toy.rows, rows_per_shard, PositionPolicy())


def toy_settings(config: Experiment, toy: ToySettings) -> dict[str, Any]:
    """Collect what the bytes of a shard depend on, by name in the configuration."""
    return {
        **{f"toy.{key}": value for key, value in toy.model_dump(mode="json").items()},
        "harvest.storage_dtype": config.harvest.storage_dtype,
        "harvest.rows_per_shard": config.harvest.rows_per_shard,
    }
