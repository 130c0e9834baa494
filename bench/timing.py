"""Time two pieces of work in turns, so that a noisy machine is equally noisy to both."""

import statistics
import time
from collections.abc import Callable


def ratio_of(first: Callable[[], None], second: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Time both in turns; return the median seconds of the second, and of the first scaled to the median ratio."""
    pairs = []
    for _ in range(repeats + 1):
        times = []
        for work in (first, second):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        pairs.append(times)
    pairs = pairs[1:]  # the first pair warms caches and allocators
    ratio = statistics.median(a / b for a, b in pairs)
    seconds = statistics.median(b for _, b in pairs)
    return ratio * seconds, seconds
