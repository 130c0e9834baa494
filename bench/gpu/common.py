"""How the parts of the check note what they find, time what they run, and make what they train."""

import statistics
import time
from pathlib import Path

import torch

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
PARTS: dict = {}
FOUND: dict = {}
SETTINGS = {"rows": 10**9, "warmup": 0.0, "decay": 0.0, "slope_bound": 0.05, "similarity_bound": 0.9, "seed": 0}
KINDS = {
    "topk": {"k": 32, "auxk_coefficient": 1 / 32},
    "batchtopk": {"k": 32, "auxk_coefficient": 1 / 32},
    "matryoshka": {"k": 32, "auxk_coefficient": 1 / 32},
    "relu": {"l1_coefficient": 1.0},
    "jumprelu": {"l0_coefficient": 1.0, "bandwidth": 0.1},
    "gated": {"l1_coefficient": 1.0},
}


def part(work):
    PARTS[work.__name__] = work
    return work


def note(name, value, good=None):
    FOUND[name] = value
    mark = "" if good is None else "ok   " if good else "WRONG"
    print(f"  {mark:5} {name:64} {value if isinstance(value, str) else f'{value:.4g}'}", flush=True)


def note_speed(name, value, good):
    """Note a measured speed; only a GPU must meet its target."""
    note(name, value, good if GPU else None)


def wait():
    if GPU:
        torch.cuda.synchronize()


def seconds(work, repeats=7, warm=2):
    """Median seconds of the device for one call; the host waits before and after."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(repeats):
        wait()
        began = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def relative(found, wanted):
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-300))


def learner(kind, d, n, rows, dtype="float32", rate=1e-3, device=DEVICE, seed=0, **own):
    from train.learner import Learner
    from train.plan import Planned
    from train.settings import DictionarySettings
    from train.start.initialise import first_directions, initial_parameters

    given = {**SETTINGS, "architecture": kind, **KINDS[kind], "compute_dtype": dtype, "learning_rate": rate}
    given |= {"batch_rows": rows, "n_latents": n, "seed": seed, **own}
    directions = first_directions("random", n, d, seed, lambda: torch.empty(0, d))
    planned = Planned("hook", Path("check"), DictionarySettings(**given))
    return Learner(planned, initial_parameters(directions, torch.zeros(d)), device, 1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
