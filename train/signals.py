"""Turn SIGTERM and SIGINT into a request that the training loop looks at between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """`requested` names the signal that asked to stop; None if there was none."""

    requested: str | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield the request; a second signal has its usual effect."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = signal.Signals(number).name
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()
