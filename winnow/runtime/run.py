"""The paths in the run directory of an experiment, `runs/NAME/`."""

from pathlib import Path
from typing import NamedTuple

import tomli_w

from winnow.config.experiment import Experiment
from winnow.config.toy_rules import without_meaningless
from winnow.hashes import change_record, note
from winnow.runtime.publish import publish_text


class Run(NamedTuple):
    """The paths of a run directory."""

    path: Path

    @property
    def tokens(self) -> Path:
        return self.path / "tokens.h5"

    @property
    def activations(self) -> Path:
        return self.path / "activations"

    @property
    def truth(self) -> Path:
        """Toy data only: the dictionary of the true directions."""
        return self.path / "truth"

    @property
    def dictionaries(self) -> Path:
        return self.path / "dictionaries"

    @property
    def report(self) -> Path:
        return self.path / "report"


def write_resolved(config: Experiment) -> Run:
    """Write the resolved configuration into its run directory, and return the directory's paths."""
    run = Run(Path(config.run))
    resolved = config.model_dump(mode="json", exclude={"config"}, exclude_none=True)
    text = tomli_w.dumps(resolved if config.toy is None else without_meaningless(resolved))
    path = run.path / "config.toml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        publish_text(path, text)
    change_record(run.path, {path.name: note(path)})
    return run
