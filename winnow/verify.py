"""Say of a run what is missing, what differs from what was written, and what is unfinished.

python -m winnow.verify --config configs/demo.toml

Every file that the run's record lists (winnow/runtime/hashes.py) is hashed, and every shard by its sidecar. Besides,
all that readers check is checked: sidecars, manifest and data sets agree, the tokens have their fingerprint, weights
their hash.
"""

from collections.abc import Callable
from pathlib import Path

from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.fields import read_fields, read_lines
from winnow.paths import escape
from winnow.polytope_files import verify_polytopes
from winnow.runtime.hashes import HASHES, Noted, check_file, read_hashes
from winnow.runtime.run import Run
from winnow.runtime.stage import run_stage

BEFORE = "made before hashes were kept"
REMEDIES = {  # first part of a file's name in the run -> what to do about it
    "tokens.h5": "delete it, and run make tokens",
    "activations": "python -m harvest --repair --config FILE makes shards and statistics again",
    "truth": "restore it",
    "dictionaries": "restore it, or delete its dictionary's folder, and train again",
    "polytopes": "run make polytopes, which makes it again",
    "report": "run make analyze",
    "comparison": "run make analyze with --runs",
    "config.toml": "run the stage again that comes next",
}


class Findings:
    """What is wrong with a run, one line a file; and what could not be checked, or is no more than worth saying."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}
        self.unchecked: list[str] = []

    def add(self, message: str) -> None:
        """Add a line; of one file the first counts."""
        self.lines.setdefault(message.partition(": ")[0], message)

    def attempt(self, check: Callable[[], object]) -> bool:
        """Run a check, and add what it refuses; return whether it passed."""
        try:
            check()
        except UserError as error:
            self.add(str(error))
            return False
        return True

    def leave(self) -> None:
        """Raise `UserError` where anything was found; if it is several, they are printed before."""
        found = sorted(self.lines.values(), key=lambda line: "unfinished" in line)  # what is damaged comes first
        if len(found) > 1:
            print(*map(escape, found), sep="\n")
            raise UserError(f"{found[0]} (and {len(found) - 1} more, see above)")
        if found:
            raise UserError(found[0])


def verify(config: Experiment) -> None:
    """Check the whole run, and print that it is whole.

    Raises `UserError` naming the files that are missing, damaged or unfinished, and what is wrong with each.
    """
    from winnow.runtime.progress import progress_bar

    run, findings = Run(Path(config.run)), Findings()
    if not run.path.is_dir():
        raise UserError(f"{run.path}: no such folder; give the configuration of a run that was made")
    record: dict[str, Noted] = {}
    findings.attempt(lambda: record.update(read_hashes(run.path)))
    with progress_bar("verify", sum(said.bytes for said in record.values()), "bytes") as bar:
        for name, said in record.items():
            remedy = REMEDIES.get(name.partition("/")[0], "restore it, or make it again")
            findings.attempt(lambda name=name, said=said, remedy=remedy: check_file(run.path / name, said, remedy))
            bar.advance(said.bytes)
    rows = _activations(run, record, findings)
    _tokens(config, run, record, findings)
    whole = _dictionaries(run, record, findings)
    _report(run, record, findings)
    for line in findings.unchecked:
        print(escape(line))
    findings.leave()
    print(f"{run.path}: {rows} and {whole} dictionaries are whole")


def _activations(run: Run, record: dict[str, Noted], findings: Findings) -> str:
    """Check the store, and say what it holds."""
    # it loads torch, which --help and a wrong key need not wait for
    from winnow.shards.finished import verify_shard
    from winnow.shards.manifest import MANIFEST, mixture, read_manifest
    from winnow.shards.sidecar import read_sidecar, shard_path
    from winnow.shards.statistics import STATISTICS
    from winnow.store import ActivationStore

    folder = run.activations
    if not findings.attempt(lambda: read_manifest(folder)):
        return "no rows"
    manifest, marked, missing = read_manifest(folder), False, []
    for number in range(manifest.shards):
        path = shard_path(folder, number)
        listed = record.get(f"{folder.name}/{path.name}")

        def check(path: Path = path, listed: Noted | None = listed) -> None:
            nonlocal marked
            sidecar = read_sidecar(path)
            if sidecar is None:
                missing.append(path)
                return
            marked |= bool(sidecar.manifest)
            if listed != Noted(sidecar.bytes, sidecar.sha256):  # otherwise it is hashed already
                verify_shard(path, sidecar)

        findings.attempt(check)
    if missing:
        findings.add(
            f"{missing[0].with_suffix('.json')}: missing, {len(missing)} of {manifest.shards} shards are unfinished; "
            "run make harvest"
        )
    if not (folder / STATISTICS).exists():
        findings.add(f"{folder / STATISTICS}: missing, the harvest is unfinished; run make harvest")
    if marked and f"{folder.name}/{MANIFEST}" not in record and (folder / STATISTICS).exists():
        findings.add(f"{run.path / HASHES}: does not list {folder.name}/{MANIFEST}; run make harvest")
    elif f"{folder.name}/{MANIFEST}" not in record:
        findings.unchecked.append(f"{folder}: {BEFORE}; its shards are checked, manifest and statistics are not")
    rows = "no rows"

    def structure() -> None:
        nonlocal rows
        store = ActivationStore(folder)
        rows = f"{store.rows:,} rows of {len(store.hooks)} hooks"
        if found := mixture(store.devices):
            findings.unchecked.append(f"{folder}: {found}")
        for path, check in store.structure():
            if str(path) not in findings.lines:  # the library may crash on a file that is damaged
                findings.attempt(check)
        merged = store.complete and (folder / STATISTICS).exists()  # those of a part are not compared
        whole = merged and str(folder / STATISTICS) not in findings.lines
        for hook in store.hooks if whole else ():
            store.statistics(hook)

    findings.attempt(structure)
    return rows


def _tokens(config: Experiment, run: Run, record: dict[str, Noted], findings: Findings) -> None:
    """Check the tokens, and that the activations are of them."""
    from winnow.shards.manifest import read_manifest
    from winnow.tokens import open_tokens

    try:
        manifest = read_manifest(run.activations)
    except UserError:  # said already
        manifest = None
    if not run.tokens.exists():
        if config.toy is None and (manifest is None or manifest.tokens is not None):
            begun = "unfinished" if (run.path / "tokens.parts").exists() else "missing"
            findings.add(f"{run.tokens}: {begun}; run make tokens")
        return
    made_of = None if manifest is None or manifest.tokens is None else manifest.tokens["fingerprint"]

    def check() -> None:
        tokens = open_tokens(run.tokens)
        tokens.verify()
        if made_of is not None and tokens.named_as(made_of).fingerprint != made_of:
            raise UserError(
                f"{run.tokens}: fingerprint {tokens.fingerprint[:12]}…, the activations are of {made_of[:12]}…; "
                "restore it, or harvest into a new run"
            )

    if str(run.tokens) not in findings.lines:
        findings.attempt(check)
    if run.tokens.name not in record:
        findings.unchecked.append(f"{run.tokens}: {BEFORE}; its tokens are checked, its attributes are not")


def _dictionaries(run: Run, record: dict[str, Noted], findings: Findings) -> int:
    """Check every dictionary, and count those that are whole."""
    from winnow.dictionary import load_dictionary, verify_dictionary

    whole = 0
    for folder in [*sorted(path for path in run.dictionaries.glob("*/*") if path.is_dir()), run.truth]:
        if not folder.is_dir() or folder.parent.name.startswith(".") or folder.name.startswith("."):
            continue
        if (folder / "failed.json").exists():
            findings.attempt(lambda folder=folder: read_fields(folder / "failed.json").integer("rows", 0))
            continue
        if not (folder / "cfg.json").exists():
            _unfinished(folder, findings)
            continue
        opened = []
        for part in [folder, *sorted(path.parent for path in folder.glob("snapshots/*/cfg.json"))]:
            findings.attempt(lambda part=part, opened=opened: opened.append(load_dictionary(part)))
        curve = folder / "metrics.jsonl"
        if curve.exists():
            findings.attempt(lambda curve=curve: read_lines(curve, lambda point: point.integer("rows", 0)))
        listed = f"{folder.relative_to(run.path).as_posix()}/cfg.json" in record
        hashed = bool(opened) and opened[0].path == folder and verify_dictionary(opened[0])
        if not listed:
            findings.unchecked.append(f"{folder}: {BEFORE}; {'only its weights are' if hashed else 'not'} checked")
        if folder != run.truth and (listed or hashed):
            whole += not any(Path(name).is_relative_to(folder) for name in findings.lines)
    return whole


def _unfinished(folder: Path, findings: Findings) -> None:
    """Check the checkpoints of a dictionary, and say that it is unfinished."""
    rows = []
    for path in sorted([*folder.glob("checkpoints/rows-*"), *folder.glob("shards/*/checkpoints/rows-*")]):
        number = path.name.removeprefix("rows-")
        if not number.isdigit() or not any(path.iterdir()):
            continue
        rows.append(int(number))
        remedy = f"delete {path} to resume from an earlier one, or from the start"

        def check(path: Path = path, remedy: str = remedy) -> None:
            try:
                read_fields(path / "state.json", remedy).integer("rows", 0)
            except FileNotFoundError:
                raise UserError(f"{path / 'state.json'}: missing; {remedy}") from None
            for name, said in read_hashes(path).items():
                check_file(path / name, said, remedy)

        if findings.attempt(check) and not (path / HASHES).exists():
            findings.unchecked.append(f"{path}: {BEFORE}; not checked")
    at = f" at row {max(rows):,}" if rows else ""
    findings.add(f"{folder}: unfinished{at}; run make train")


def _report(run: Run, record: dict[str, Noted], findings: Findings) -> None:
    """Check that reports are listed, and what they measured is there; likewise the files on polytopes."""
    for name in ("report", "comparison"):
        path = run.path / name / "metrics.json"
        if not path.exists():
            if (run.path / name / "index.html").exists():
                findings.add(f"{path}: missing; {REMEDIES[name]}")
            continue
        if f"{name}/metrics.json" not in record:
            findings.unchecked.append(f"{path.parent}: {BEFORE}; not checked")
        findings.attempt(lambda path=path, name=name: _measured(run, path, REMEDIES[name]))
    findings.attempt(lambda: verify_polytopes(run.polytopes))


def _measured(run: Run, path: Path, remedy: str) -> None:
    metrics = read_fields(path, remedy)
    inputs = metrics.object("inputs") if metrics.has("inputs") else None
    if path.parent != run.report or inputs is None or not inputs.has("dictionaries"):
        return
    for name in inputs.object("dictionaries").all:
        if not (run.path / name / "cfg.json").exists():
            raise UserError(f"{run.path / name}: missing, {path} has measured it; run make train, or make analyze")


if __name__ == "__main__":
    run_stage("winnow.verify", verify, resumes=False)
