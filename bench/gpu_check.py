"""Check all of winnow's work on a GPU: first that it is right, then how fast it is. Run from the repository's root.

    python bench/gpu_check.py --out DIR [--only machine,kernels,...] [--budget 540] [--quick]

Parts are independent: an error is printed and the next part runs; no part begins once the budget (seconds) is spent.
`--quick` takes small sizes and also runs on a CPU, to test this file itself without a GPU.
"""

import argparse
import json
import sys
import time
import traceback
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, where `train` and `harvest` are benchmarks

from bench.gpu import ceilings, harvests, pieces, right, rows, speed, whole  # noqa: E402
from bench.gpu.common import FOUND, PARTS  # noqa: E402

ORDER = (ceilings, right, speed, pieces, rows, harvests, whole)  # imported, each has put its parts into PARTS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--budget", type=float, default=540)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-triton", action="store_true", help="the way of a machine without it")
    asked = parser.parse_args()
    if asked.no_triton:
        from train.kernels import dispatch as chosen

        chosen.available = lambda tensor: False
    asked.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for name in asked.only.split(","):
        if time.monotonic() - began > asked.budget:
            print(f"{name}: no time left")
            continue
        print(f"\n== {name} (at {time.monotonic() - began:.0f} s)", flush=True)
        try:
            PARTS[name](asked.quick)
        except Exception:
            traceback.print_exc()
            FOUND[f"{name} failed"] = traceback.format_exc(limit=-4)
        (asked.out / "found.json").write_text(json.dumps(FOUND, indent=1))
    print(f"\nall of it took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
