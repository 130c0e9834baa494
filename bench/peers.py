"""How fast winnow trains dictionaries, against the libraries that people use for it.

    make bench-peers                                   # installs the peers into .venv-peers first
    python -m bench.peers [--steps 5] [--quick]

Each trainer runs in a process and an environment of its own (bench/peer_step.py), with the same rows, shape and number
of threads: 4096 rows of 768 dimensions, 6144 latents, k = 32. Ours and the peer take single steps in turns, so that a
noisy machine is equally noisy to both; the median ratio counts. A process that waits for its turn sleeps.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.command_line import bench_parser
from bench.table import Row, publish_rows
from winnow.errors import UserError

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"


class Match(NamedTuple):
    """A trainer of ours and one of a peer that do the same."""

    ours: str
    peer: str
    target: float  # the smallest good ratio of their speeds


MATCHES = [
    Match("winnow/topk/float32", "sae_lens/topk/float32", 5.0),
    Match("winnow/batchtopk/float32", "sae_lens/batchtopk/float32", 5.0),
    Match("winnow/relu/float32", "sae_lens/relu/float32", 1.0),
    Match("winnow/topk/float32", "sparsify/topk/float32", 1.5),
    Match("winnow/topk/float32", "dictionary_learning/topk/float32", 1.0),
    Match("winnow/relu/float32", "dictionary_learning/relu/float32", 1.0),
    Match("winnow/topk/bfloat16", "sae_lens/topk/bfloat16", 5.0),
]


class Trainer:
    """A process that takes a step when asked."""

    def __init__(self, name: str, sizes: tuple[int, ...]) -> None:
        self.name = name
        python = sys.executable if name.startswith("winnow/") else str(PEERS)
        self.process = subprocess.Popen(
            [python, str(ROOT / "bench" / "peer_step.py"), name, *map(str, sizes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *reason: object) -> None:
        self.process.kill()
        self.process.communicate()

    def step(self) -> float:
        """Take a step, and return its seconds."""
        assert self.process.stdin
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self, expected: str = "") -> str:
        assert self.process.stdout
        answer = self.process.stdout.readline().strip()
        if not answer or (expected and answer != expected):
            _, said = self.process.communicate()
            raise UserError(f"{self.name} stopped:\n{said}")
        return answer


def compare(match: Match, sizes: tuple[int, ...], steps: int) -> Row:
    """Time both in turns; the peer's speed is its median, ours is that times the median ratio."""
    with Trainer(match.ours, sizes) as ours, Trainer(match.peer, sizes) as peer:
        pairs = [(ours.step(), peer.step()) for _ in range(steps)]
    ratio = statistics.median(theirs / own for own, theirs in pairs)
    reference = sizes[0] / statistics.median(theirs for _, theirs in pairs)
    return Row(f"{match.ours} : {match.peer}", ratio * reference, reference, "rows/s", match.target)


def measure(matches: Iterable[Match], steps: int, *, quick: bool) -> None:
    """Compare each trainer of ours with its peer, and publish the table."""
    sizes = (256, 64, 512, 8) if quick else (4096, 768, 6144, 32)
    publish_rows("peers", "peer", [compare(match, sizes, steps) for match in matches], quick=quick)


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--steps", type=int, help="steps of each, after one that warms up; 5, or 1 with --quick")
    arguments = parser.parse_args(argv)
    if not PEERS.exists():
        sys.exit(f"{PEERS}: no such file; run make bench-peers, which installs the peers")
    measure(MATCHES, arguments.steps or (1 if arguments.quick else 5), quick=arguments.quick)


if __name__ == "__main__":
    main()
