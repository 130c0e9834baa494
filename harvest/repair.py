"""Find the shards that are not what they were when they were written, so that they are made again."""

import sys
from pathlib import Path

from winnow.errors import UserError
from winnow.store import finished_shards, read_manifest, verify_shard


def drop_damaged(folder: Path) -> None:
    """Delete each shard whose bytes are not those that its sidecar says; an unreadable sidecar counts as none."""
    for path, sidecar in finished_shards(folder, read_manifest(folder)["shards"]):
        try:
            verify_shard(path, sidecar)
        except UserError as damage:
            print(f"{str(damage).split(';')[0]}; made again", file=sys.stderr)
            path.with_suffix(".json").unlink()
            path.unlink(missing_ok=True)
