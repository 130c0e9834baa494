"""Read RUN/polytopes, the results of the stage of that name; what is not there is left out of the report.

The two stages meet on disk: a record says by `version`, `inputs` and `sha256` what it is. Nothing here imports torch.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from analyze.schema.polytopes.adversaries import Adversaries
from analyze.schema.polytopes.boundaries import Density, Radius
from analyze.schema.polytopes.clusters import Clusters
from analyze.schema.polytopes.codes import Codes
from analyze.schema.polytopes.maps import Maps
from analyze.schema.polytopes.regions import Regions
from analyze.schema.polytopes.scaling import Scaling
from analyze.schema.record import Record, SchemaError
from analyze.schema.record import read_record as by_schema
from winnow.errors import UserError
from winnow.runtime.record import read_record

SCHEMAS: dict[str, type[Record]] = {
    "codes": Codes,
    "clusters": Clusters,
    "maps": Maps,
    "scaling": Scaling,
    "density": Density,
    "radius": Radius,
    "regions": Regions,
    "adversaries": Adversaries,
}
VERSIONS = dict.fromkeys(SCHEMAS, 1) | {"clusters": 2}  # of the definitions, as the stage polytopes writes them
AGAIN = "run make polytopes again"


@dataclass(frozen=True)
class Polytopes:
    """The results of each experiment, None where it was not made, and the hashes of their files by name."""

    codes: Codes | None = None
    clusters: Clusters | None = None
    maps: Maps | None = None
    scaling: Scaling | None = None
    density: Density | None = None
    radius: Radius | None = None
    regions: Regions | None = None
    adversaries: Adversaries | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, field.name) is None for field in fields(self))


NO_POLYTOPES = Polytopes()


def read_polytopes(folder: Path, inputs: Mapping[str, Any]) -> tuple[Polytopes, dict[str, str]]:
    """Read the experiments in a folder, and the hash of each file.

    inputs: what they must have been made from, `weights_sha256` and `tokens`; one made from something else is left
    out, and named on the error stream. Raises `UserError` in one line that names the file where it is damaged, of
    another version, or has a key that is missing or not declared.
    """
    found: dict[str, Any] = {}
    hashes: dict[str, str] = {}
    for name, schema in SCHEMAS.items():
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        written = read_record(path)
        if written.key.version != VERSIONS[name]:
            raise UserError(f"{path}: expected version {VERSIONS[name]}, found {written.key.version!r}; {AGAIN}")
        other = [key for key, value in inputs.items() if written.key.inputs.get(key) != value]
        if other:
            print(f"{path}: made from other {' and '.join(other)} than the harvest; left out, {AGAIN}", file=sys.stderr)
            continue
        try:
            found[name] = by_schema(schema, _completed(name, written.results), "results")
        except SchemaError as error:
            raise UserError(f"{path}: {error}; {AGAIN}") from error
        hashes[name] = written.sha256
    return Polytopes(**found), hashes


def _completed(name: str, results: Any) -> Any:
    """Add the key that results of the same version lack where they were made before it: as not measured."""
    if name == "density" and isinstance(results.get("labels"), list):
        return {**results, "labels": [{"through": None, **label} for label in results["labels"]]}
    return results
