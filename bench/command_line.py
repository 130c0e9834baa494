"""The options that every benchmark has."""

import argparse

from winnow.runtime.output import open_output


def bench_parser(description: str | None, repeats: int | None = None) -> argparse.ArgumentParser:
    """Build a parser with `--quick` and, where a benchmark repeats its measurement, `--repeats`."""
    open_output()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, one repeat: shows that it runs; changes no results file"
    )
    if repeats is not None:
        parser.add_argument(
            "--repeats", type=int, metavar="N", help=f"times that each row is measured; {repeats}, or 1 with --quick"
        )
        parser.set_defaults(usual_repeats=repeats)
    return parser


def repeats_of(arguments: argparse.Namespace) -> int:
    """Return how often to measure: as asked, else once where `--quick` is given, else the benchmark's usual number."""
    if arguments.repeats is not None:
        return arguments.repeats
    return 1 if arguments.quick else arguments.usual_repeats
