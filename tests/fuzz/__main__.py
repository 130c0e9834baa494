"""Run as many cases as one asks for: python -m tests.fuzz --cases 5000 --seed 7"""

import argparse
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from tests.fuzz.fuzz import Fuzzer, summary
from tests.fuzz.run import make_runs
from tests.models import save_model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; another seed gives other cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to run one again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            runs = make_runs(Path(folder), save_model("gpt2", Path(folder, "gpt2")))
        fuzzer, begun, done = Fuzzer(*runs), time.monotonic(), []
        for case in fuzzer.cases(options.cases, options.seed, options.first):
            done.append(case)
            if case.fault:
                print(f"case {case.seed}: {case.file}: {case.done}: {case.fault}")
    print(summary(done, time.monotonic() - begun))
    return int(any(case.fault for case in done))


if __name__ == "__main__":
    sys.exit(main())
