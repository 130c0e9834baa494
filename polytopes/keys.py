"""What each file of RUN/polytopes depends on, and whether it is there and still fits."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from polytopes.experiments.table import EXPERIMENTS
from winnow.config.experiment import Experiment
from winnow.config.polytopes import PolytopesSettings
from winnow.dictionary_files import identity
from winnow.errors import UserError
from winnow.polytope_files import ROWS_FILE
from winnow.runtime.hashes import hash_file
from winnow.runtime.record import Key, Record, is_of, read_record
from winnow.runtime.run import Run, finished_dictionaries
from winnow.shards.manifest import Manifest

ROWS = "rows"
CLUSTERS = "clusters"  # which stand with the rows
ROWS_VERSION = 1
COMMON = ("layers", "rows", "positions")


@dataclass(frozen=True)
class Keys:
    """The keys of a run's records."""

    run: Run
    settings: PolytopesSettings
    inputs: Mapping[str, Any]
    seed: int

    @classmethod
    def of(cls, config: Experiment, settings: PolytopesSettings, manifest: Manifest) -> "Keys":
        """Collect them from the configuration and the harvest's manifest, which has a language model."""
        assert manifest.model is not None
        assert manifest.tokens is not None
        inputs = {
            "weights_sha256": manifest.model["weights_sha256"],
            "tokens": manifest.tokens["fingerprint"],
            "harvested_sequences": manifest.tokens["sequences"],
        }
        return cls(Run(Path(config.run)), settings, inputs, config.seed)

    def path(self, name: str) -> Path:
        return self.run.polytopes / f"{name}.json"

    def key(self, name: str) -> Key:
        """Give the key of the rows, or of an experiment; those that it reads must have been made."""
        if name == ROWS:
            return Key(ROWS_VERSION, self.inputs, self._settings(COMMON))
        entry = EXPERIMENTS[name]
        inputs = dict(self.inputs)
        for before in entry.after:
            if before in self.settings.experiments:
                record = self._read(before)
                inputs[before] = None if record is None else record.sha256
        if entry.dictionaries:
            inputs["dictionaries"] = self._dictionaries(entry.dictionaries)
        return Key(entry.version, inputs, self._settings((*COMMON, *entry.settings)))

    def is_due(self, name: str, tell: bool = False) -> bool:
        """Say whether the rows or an experiment must be made; `tell`: name a damaged file on the error stream."""
        record = self._read(name, tell)
        if record is None or not is_of(record, self.key(name)):
            return True
        if name == CLUSTERS:
            rows = self._read(ROWS)
            return rows is None or record.results["files"] != rows.results["files"]
        return name == ROWS and not self._rows_are_whole(record, tell)

    def due(self) -> list[str]:
        """List what must be made, in that order. An experiment that reads another is due where that one is."""
        names = [name for name in EXPERIMENTS if name in self.settings.experiments]
        found: list[str] = []
        for name in [ROWS, *names]:
            reads = () if name == ROWS else (ROWS,) if name == CLUSTERS else EXPERIMENTS[name].after
            if set(reads) & set(found) or self.is_due(name, tell=True):
                found.append(name)
        return found

    def _settings(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {**self.settings.model_dump(mode="json", include=set(names)), "seed": self.seed}

    def _dictionaries(self, patterns: tuple[str, ...]) -> dict[str, str]:
        paths = finished_dictionaries(self.run.path)
        fitting = [path for path in paths if any(fnmatchcase(path.parent.name, pattern) for pattern in patterns)]
        return {str(path.relative_to(self.run.path)): identity(path) for path in fitting}

    def _read(self, name: str, tell: bool = False) -> Record | None:
        path = self.path(name)
        if not path.exists():
            return None
        try:
            return read_record(path)
        except UserError as damage:
            if tell:
                print(f"{str(damage).split(';')[0]}; made again", file=sys.stderr)
            return None

    def _rows_are_whole(self, record: Record, tell: bool) -> bool:
        path, expected = self.run.polytopes / ROWS_FILE, record.results["files"][ROWS_FILE]
        try:
            found = hash_file(path)
            damage = f"expected sha256 {expected}, found {found}"
        except OSError as error:
            found, damage = None, error.strerror
        if tell and found != expected:
            print(f"{path}: {damage}; made again", file=sys.stderr)
        return found == expected
