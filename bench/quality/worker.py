"""Train and measure cells of one trainer, in the trainer's environment and with one thread.

    PYTHON -m bench.quality.worker REQUEST.json

REQUEST: {"setup": …, "cells": [[trainer, architecture, sparsity, rate, seed], …], "rows": FOLDER, "work": FOLDER}.
Prints the name of each cell once it is measured and kept; whatever libraries print goes to standard error.
"""

import importlib
import json
import math
import shutil
import sys
import time
from pathlib import Path

import torch

from bench.quality.data import Batches, measure
from bench.quality.plan import Cell, Setup
from bench.quality.rows import Quality, write_row
from winnow.dictionary import load_dictionary

DIVERGED = Quality(math.nan, math.nan, math.nan)


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(1)
    cells = [Cell(*fields) for fields in request["cells"]]
    setup, work = Setup(**request["setup"]), Path(request["work"])
    trainer = importlib.import_module(f"bench.quality.trainers.{cells[0].trainer}")
    batches = Batches(setup)
    started = time.process_time()
    for cell, folder in trainer.train(cells, batches, work):
        quality = DIVERGED if folder is None else measure(load_dictionary(folder), batches.held_out)
        now = time.process_time()
        write_row(Path(request["rows"]), setup, cell, quality, trainer.VERSION, now - started)
        started = now
        print(cell.name, file=out, flush=True)
        if folder is not None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
