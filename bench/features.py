"""How long feature pages take beyond encoding: 10,240 latents, d = 768, GPT-2's vocabulary.

    python -m bench.features [--latents 10240] [--sequences 256] [--quick]

Everything that the stage does for one dictionary, except opening and running the model and encoding: examples,
histograms, tokens promoted and suppressed, nearest latents in a dictionary half as large, and writing the files. The
target is 10,000 latents in two minutes on two cores.
"""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from analyze.compare.cosines import unit
from analyze.features.best import Batch
from analyze.features.data import Feature, write_feature, write_text
from analyze.features.examples import DENSE, FeaturePass
from analyze.features.logits import Readout, promoted
from analyze.features.neighbours import nearest_latents
from bench.command_line import bench_parser
from bench.table import Row, publish_rows
from winnow.dictionary import Dictionary

D_MODEL, D_VOCAB, CONTEXT = 768, 50_257, 128
TARGET = 10_000 / 120  # latents a second


def make_dictionary(n_latents: int, architecture: str, generator: torch.Generator) -> Dictionary:
    """Make random unit directions; about 2 % of a relu dictionary's fire on a row of independent normal values."""
    directions = unit(torch.randn(n_latents, D_MODEL, generator=generator))
    bias = torch.full((n_latents,), 0.0 if architecture == "topk" else -2.05)
    k = 32 if architecture == "topk" else None
    zero = torch.zeros(D_MODEL)
    return Dictionary(directions.T.contiguous(), bias, directions, zero, architecture=architecture, k=k, hook="bench")


def measure(n_latents: int, sequences: int, architecture: str) -> Row:
    """Make the pages of one dictionary, and print what each part took."""
    generator = torch.Generator().manual_seed(0)
    dictionary = make_dictionary(n_latents, architecture, generator)
    other = unit(torch.randn(n_latents // 2, D_MODEL, generator=generator))
    identity: Callable[[Tensor], Tensor] = lambda directions: directions  # noqa: E731
    readout = Readout("straight", identity, identity, torch.randn(D_VOCAB, D_MODEL, generator=generator))
    text = torch.randint(D_VOCAB, (sequences, CONTEXT), generator=generator).int().numpy()
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start

    found = FeaturePass(n_latents)
    step = max(1, DENSE // (CONTEXT * n_latents))
    for first in range(0, sequences, step):
        kept = torch.ones(min(step, sequences - first), CONTEXT, dtype=torch.bool)
        kept[:, 0] = False
        x = torch.randn(int(kept.sum()), D_MODEL, generator=generator)
        with timed("encode"):
            f = dictionary.encode(x)
        with timed("examples"):
            found.add(Batch(f, kept, first))
    with timed("examples"):
        examples = found.result()
    with timed("logits"):
        ends = promoted(readout, dictionary.W_dec)
    with timed("nearest"):
        near = nearest_latents(dictionary.W_dec, other, torch.ones(len(other), dtype=torch.bool))
    with tempfile.TemporaryDirectory() as name, timed("files"):
        write_text(Path(name), [f" token{i}" for i in range(D_VOCAB)], text)
        write_feature(Path(name), Feature(examples, ends, readout.words, {"other": near}, {}, {}), text)
        files = list(Path(name).iterdir())
        mib = sum(file.stat().st_size for file in files) / 2**20
    density = float(examples.firings.sum()) / examples.rows / n_latents
    print(
        f"{architecture}: {examples.rows:,} rows, {100 * density:.2f} % of the latents on each; "
        + ", ".join(f"{part} {spent:.1f} s" for part, spent in seconds.items())
        + f"; {len(files)} files, {mib:.0f} MiB; peak memory {_peak():.0f} MiB"
    )
    beyond = sum(seconds.values()) - seconds["encode"]
    return Row(f"pages of a {architecture} dictionary", n_latents / beyond, TARGET, "latents/s", 1.0)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--latents", type=int, help="of each dictionary; 10,240, or 256 with --quick")
    parser.add_argument("--sequences", type=int, help=f"of {CONTEXT} tokens; 256, or 8 with --quick")
    arguments = parser.parse_args(argv)
    latents = arguments.latents or (256 if arguments.quick else 10_240)
    sequences = arguments.sequences or (8 if arguments.quick else 256)
    rows = [measure(latents, sequences, architecture) for architecture in ("topk", "relu")]
    publish_rows("features", "10,000 latents in 2 minutes", rows, quick=arguments.quick)


if __name__ == "__main__":
    main()
