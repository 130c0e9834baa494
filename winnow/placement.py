"""Where dictionaries lie in a run: `RUN/dictionaries/HOOK/NAME` holds one of that hook's activations.

What somebody copies into a run is found by every stage, so it is checked where it is opened. Nothing heavy is imported.
"""

from pathlib import Path

from winnow.errors import UserError
from winnow.paths import kind_of
from winnow.shards.manifest import MANIFEST, Manifest, read_manifest

RUN_FILES = ("dictionaries", "activations", "config.toml", "tokens.h5", "truth")  # any of which makes a folder a run
LEVELS = 4  # a snapshot lies two folders below its dictionary


def refuse_no_run(run: Path) -> None:
    """Raise `UserError` for what is no run, saying what it is."""
    expected = f"{run}: expected the folder of a run, for instance runs/demo, found"
    if not run.exists():
        raise UserError(f"{run}: no such folder; give the folder of a run, for instance runs/demo")
    if not run.is_dir():
        raise UserError(f"{expected} {kind_of(run) or 'a file'}")
    if any((run / name).exists() for name in RUN_FILES):
        return
    if (run / "cfg.json").exists():
        raise UserError(f"{expected} one dictionary; winnow.load_dictionary opens it")
    for above in run.absolute().parents[:2]:  # its dictionaries/, or one hook's in it
        if (above / "dictionaries").is_dir() and run.absolute().is_relative_to(above / "dictionaries"):
            raise UserError(f"{expected} a part of one; give {above}")
    below = sorted(path.name for path in run.iterdir() if any((path / name).exists() for name in RUN_FILES))
    named = f"runs in it: {', '.join(below[:5])}" if below else f"none of {', '.join(RUN_FILES)}"
    raise UserError(f"{expected} {named}")


def refuse_misplaced(folder: Path, d_model: int, hook: str) -> None:
    """Raise `UserError` where a dictionary lies in a run at another hook than its own, or where rows have other widths.

    A dictionary that lies elsewhere, or at a hook of which the run has no activations, may be of anything.
    """
    path = folder.absolute()
    for below in path.parents[:LEVELS]:
        if below.parent.name == "dictionaries":
            manifest = _manifest(below.parents[1] / "activations")
            if manifest is not None and below.name in manifest.hooks:
                _refuse(folder, d_model, hook, below.name, manifest, below.parents[1])
            return


def _refuse(folder: Path, d_model: int, hook: str, at: str, manifest: Manifest, run: Path) -> None:
    move = f"move it out of {run}"
    if d_model != manifest.hooks[at]:
        raise UserError(
            f"{folder}: expected d_model = {manifest.hooks[at]}, the width of {at} in this run, found {d_model}; {move}"
        )
    if hook != at:
        raise UserError(
            f"{folder}: expected a dictionary of {at}, as its folder says, found one of {hook or 'no hook'}; {move}"
        )


def _manifest(activations: Path) -> Manifest | None:
    """Read the manifest of a run; None where there is none that can be read, which its own readers say."""
    if not (activations / MANIFEST).is_file():
        return None
    try:
        return read_manifest(activations)
    except UserError:
        return None
