"""The paths in the run directory of an experiment, `runs/NAME/`."""

from pathlib import Path
from typing import NamedTuple

import tomli_w

from winnow.config.experiment import Experiment
from winnow.config.toy_rules import without_meaningless
from winnow.errors import UserError
from winnow.runtime.hashes import HASHES, change_hashes, note, read_hashes
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
    def polytopes(self) -> Path:
        return self.path / "polytopes"

    @property
    def report(self) -> Path:
        return self.path / "report"


def finished_dictionaries(run: Path) -> list[Path]:
    """List the folders of a run's finished dictionaries, in order of hook and name.

    Raises `UserError` where the file that tells so is gone of one that was finished; its folder may be gone as a whole.
    """
    for name in read_hashes(run):
        path = run / name
        if path.match("dictionaries/*/*/cfg.json") and path.parent.is_dir() and not path.exists():
            raise UserError(f"{path}: missing, {HASHES} lists it; restore it, or delete {path.parent}, and train again")
    return sorted(path.parent for path in (run / "dictionaries").glob("*/*/cfg.json"))


def write_resolved(config: Experiment) -> Run:
    """Write the resolved configuration into its run directory, and return the directory's paths."""
    run = Run(Path(config.run))
    resolved = config.model_dump(mode="json", exclude={"config"}, exclude_none=True)
    text = tomli_w.dumps(resolved if config.toy is None else without_meaningless(resolved))
    path = run.path / "config.toml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        publish_text(path, text)
    change_hashes(run.path, {path.name: note(path)})
    return run
