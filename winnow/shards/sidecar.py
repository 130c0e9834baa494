"""The sidecar of a shard, `shard-NNNNN.json`: what `winnow.shards.layout` says of it; read without torch."""

from pathlib import Path
from typing import Any, NamedTuple

from winnow.fields import LARGEST, Fields, read_fields
from winnow.shards.contiguous import Layout

REPAIR = "python -m harvest --repair --config FILE makes it again"


class Sidecar(NamedTuple):
    """The fields of `shard-NNNNN.json`."""

    rows: int
    sequences: tuple[int, int]
    bytes: int
    sha256: str
    layout: Layout | None = None  # of its file; None: made before it was noted, and so is the next
    manifest: str = ""  # fingerprint of the manifest
    device: str = ""  # kind of the one that computed the rows: cpu, or a GPU's name; "": made before it was noted

    def to_json(self) -> dict[str, Any]:
        """Give the fields by name, but for those that are not known."""
        written = {**self._asdict(), "layout": self.layout and self.layout._asdict()}
        return {name: value for name, value in written.items() if value not in (None, "")}


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.h5"


def read_sidecar(shard: Path) -> Sidecar | None:
    """Read the sidecar of a shard; None if the shard is not finished.

    Raises `UserError` naming the file and the field where it holds anything else.
    """
    path = shard.with_suffix(".json")
    try:
        fields = read_fields(path, REPAIR)
    except FileNotFoundError:
        return None
    start, stop = fields.integers("sequences", 0, 2)
    if start >= stop:
        raise fields.wrong("sequences", "a first sequence, and a later one behind the last", [start, stop])
    return Sidecar(
        rows=fields.integer("rows", 0),
        sequences=(start, stop),
        bytes=fields.integer("bytes", 0),
        sha256=fields.digest("sha256"),
        layout=_layout(fields.object("layout")) if "layout" in fields.all else None,
        manifest=fields.text("manifest") if "manifest" in fields.all else "",
        device=fields.text("device") if "device" in fields.all else "",
    )


def _layout(fields: Fields) -> Layout:
    values, end = fields.list("values"), 0
    for span in values:
        fits = isinstance(span, list) and len(span) == 2 and all(type(n) is int and 0 <= n <= LARGEST for n in span)
        if not fits or span[0] < end:
            raise fields.wrong("layout.values", "spans [start, bytes] in rising order", values)
        end = sum(span)
    return Layout(values, fields.digest("sha256"))
