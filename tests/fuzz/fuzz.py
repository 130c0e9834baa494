"""Damage every kind of file of a run, again and again, and see that nothing is accepted that changes a number.

    make fuzz CASES=5000 SEED=7
    python -m tests.fuzz --cases 5000 --seed 7

A case is one damaged file. It passes where verify, each reader and each function of a stage refuses in one line, or
gives the numbers of the whole run. The values in shards and tokens are too many for readers to hash: there it is enough
that verify refuses.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.damage import damage
from tests.fuzz.read import FINDINGS, VALUES, Traceback, area_of, outcomes
from winnow.config.experiment import Experiment

LEFT_ALONE = (".lock", ".claims", "tensorboard")  # they hold no numbers


class Case(NamedTuple):
    """One damaged file, and what is wrong with how it was met; "": nothing."""

    seed: str
    file: str
    done: str
    refused: bool  # by verify
    fault: str


class Fuzzer:
    """Damages one file at a time of a finished run, and of one whose training has only begun, and restores it."""

    def __init__(self, config: Experiment, begun: Experiment, listed: bool = True) -> None:
        """Read both runs as they are; `listed`: they have hashes. Without, only tracebacks count as faults."""
        self.listed = listed
        self.config = config
        self.begun = begun
        self.files = [*_files(Path(config.run)), *_checkpoints(Path(begun.run))]
        self.kinds: dict[str, list[Path]] = {}
        for path in self.files:
            self.kinds.setdefault(kind_of(path), []).append(path)
        self.whole = outcomes(config, begun)
        refused = {name: said for name, said in self.whole.items() if said.startswith("refused")}
        assert not listed or list(refused) == ["verify of one begun"], refused

    def cases(self, count: int, seed: int, first: int = 0) -> Iterator[Case]:
        """Run `count` cases from case `first` on; the kinds of files take turns."""
        kinds = sorted(self.kinds)
        for number in range(first, first + count):
            dice = random.Random(f"{seed}.{number}")
            path = dice.choice(self.kinds[kinds[number % len(kinds)]])
            yield self._case(f"{seed}.{number}", path, dice)

    def _case(self, seed: str, path: Path, dice: random.Random) -> Case:
        content = path.read_bytes()
        refused = False
        try:
            done = damage(path, content, dice)
            try:
                found = outcomes(self.config, self.begun, area_of(path, self.config))
                refused = any(found[name] != self.whole[name] for name in found if name.startswith("verify"))
                fault = self._fault(found, refused)
            except Traceback as error:
                fault = f"traceback: {error}"
        finally:
            path.write_bytes(content)
        return Case(seed, str(path.relative_to(Path(self.config.run).parent)), done, refused, fault)

    def _fault(self, found: dict[str, str], refused: bool) -> str:
        changed = [
            name
            for name, said in found.items()
            if said != self.whole[name] and not said.startswith("refused") and name not in FINDINGS
        ]
        if not self.listed:
            return ""
        unfound = [name for name in changed if name not in VALUES or not refused]
        return f"accepted with other numbers by {', '.join(unfound)}" if unfound else ""


def kind_of(path: Path) -> str:
    """Name the kind of a file: numbers and hashes in its name do not count."""
    parent = "snapshots/" if "snapshots" in path.parts else ""
    return parent + re.sub(r"--.*|-\d+", "", path.name)


def summary(cases: list[Case], seconds: float) -> str:
    """Count the cases by kind of file."""
    kinds = Counter(kind_of(Path(case.file)) for case in cases)
    refused = Counter(kind_of(Path(case.file)) for case in cases if case.refused)
    lines = [f"{kind:32} {count:6} cases, {refused[kind]:6} refused by verify" for kind, count in sorted(kinds.items())]
    faults = sum(bool(case.fault) for case in cases)
    return "\n".join([*lines, f"{len(cases)} cases in {seconds:.0f} s, {faults} faults"])


def _files(run: Path) -> list[Path]:
    found = (path for path in run.rglob("*") if path.is_file())
    return sorted(path for path in found if not set(path.relative_to(run).parts) & set(LEFT_ALONE))


def _checkpoints(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("checkpoints/*/*") if path.is_file())
