"""What a harvest will write: its settings, its shards, its size; computed without opening the model."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from winnow.config.dtypes import DType
from winnow.config.experiment import Experiment
from winnow.config.positions import PositionPolicy
from winnow.config.toy import ToySettings
from winnow.errors import UserError
from winnow.positions import kept_positions, most_per_sequence, position_policy
from winnow.tokens import TokenFile


class Plan(NamedTuple):
    """How sequences [0, sequences) of the tokens are cut into shards."""

    sequences: int  # harvested; those behind them are held out for the evaluation
    sequences_per_shard: int
    policy: PositionPolicy

    @property
    def shards(self) -> int:
        return -(-self.sequences // self.sequences_per_shard)

    def span(self, shard: int) -> tuple[int, int]:
        """Name the sequences [start, stop) of a shard."""
        start = shard * self.sequences_per_shard
        return start, min(self.sequences, start + self.sequences_per_shard)


def plan_harvest(config: Experiment, tokens: TokenFile) -> Plan:
    """Cut the harvest into shards of at most `rows_per_shard` rows.

    Raises `UserError` where nothing is left to harvest.
    """
    policy = position_policy(config)
    per_sequence = most_per_sequence(policy, tokens.context)
    sequences = tokens.sequences - config.text.held_out_sequences
    if sequences <= 0:
        raise UserError(
            f"{tokens.path} holds {tokens.sequences} sequences, and text.held_out_sequences = "
            f"{config.text.held_out_sequences} of them are held out; ask for more text.tokens in a new run"
        )
    return Plan(sequences, max(1, config.harvest.rows_per_shard // per_sequence), policy)


def refuse_without_positions(config: Experiment, tokens: TokenFile, plan: Plan) -> None:
    """Raise `UserError` where `drop_tokens` leaves no position of the harvested sequences, or of the held-out ones."""
    if not plan.policy.drop_tokens:  # all else keeps at least one of each sequence
        return
    for what, first, stop in (("harvested", 0, plan.sequences), ("held-out", plan.sequences, tokens.sequences)):
        blocks = tokens.blocks(first, stop)
        if not any(kept_positions(plan.policy, block, start, config.seed).any() for start, block in blocks):
            raise UserError(
                f"harvest.positions: drop_tokens and skip_first leave no position of the {stop - first} {what} "
                f"sequences in {tokens.path}; drop fewer tokens"
            )


def harvest_settings(config: Experiment, tokens: TokenFile, plan: Plan) -> dict[str, Any]:
    """Collect what the bytes of a shard depend on, by name in the configuration, but for the weights."""
    harvest = {f"harvest.{key}": value for key, value in config.harvest.model_dump(mode="json").items()}
    harvest["harvest.positions"] = plan.policy.model_dump(mode="json")
    return {
        "model.name": config.model.name,
        "model.revision": config.model.revision,
        "model.dtype": config.model.dtype,
        "seed": config.seed if plan.policy.random else None,
        "tokens.fingerprint": tokens.fingerprint,
        "harvested_sequences": plan.sequences,
        **harvest,
    }


def refuse_without_space(folder: Path, bytes_per_row: int, rows: int) -> None:
    """Raise `UserError` with needed and free bytes where the disk cannot hold the rows that are missing."""
    needed = rows * (bytes_per_row + 12)  # and sequence, position, token
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: the harvest needs {needed:,} bytes, {free:,} are free; choose fewer hooks, "
            "positions, text.tokens or toy.rows, or another disk"
        )


def bytes_per_row(widths: Mapping[str, int], dtype: DType) -> int:
    """Count the bytes of one row of all hooks."""
    return sum(widths.values()) * (4 if dtype == "float32" else 2)


def plan_toy(toy: ToySettings, rows_per_shard: int) -> Plan:
    """Cut the rows into shards; a sequence is one row."""
    return Plan(toy.rows, rows_per_shard, PositionPolicy())


def toy_settings(config: Experiment, toy: ToySettings) -> dict[str, Any]:
    """Collect what the bytes of a shard depend on, by name in the configuration."""
    return {
        **{f"toy.{key}": value for key, value in toy.of_the_rows().items()},
        "harvest.storage_dtype": config.harvest.storage_dtype,
        "harvest.rows_per_shard": config.harvest.rows_per_shard,
    }
