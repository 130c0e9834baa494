"""A device that works as late as it may, in place of a GPU."""

from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from train.link import Event, Sent


class LateEvent:
    """A point in the queue of a `LateLink`, which works up to there when somebody waits."""

    def __init__(self, link: "LateLink", number: int) -> None:
        self.link, self.number = link, number
        self.waited = False

    def synchronize(self) -> None:
        self.waited = True
        self.link.work_up_to(self.number)


class LateLink:
    """Copies in host memory, each put off until something waits for it; pinned memory that is reused too early shows.

    It checks besides that pinned memory is filled again only by who waited until it was sent, and that nothing on the
    device is written over before what used it was launched.
    """

    def __init__(self) -> None:
        self.queue: list[Callable[[], object]] = []
        self.worked = 0
        self.lock = Lock()
        self.received: dict[int, int] = {}  # address of a tensor -> how often anything had been received by then
        self.receipts = 0
        self.sent: dict[int, LateEvent] = {}  # from each piece of pinned memory, the last time
        self.pinned_bytes = self.device_bytes = 0

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        memory = torch.full(shape, 111, dtype=dtype)
        self.pinned_bytes += memory.nbytes
        return memory

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        memory = torch.zeros(shape, dtype=dtype)
        self.device_bytes += memory.nbytes
        return memory

    def reached(self) -> LateEvent:
        return LateEvent(self, -self.receipts)  # of the work that computes, which is never late here

    def send(self, source: Tensor, to: Tensor | None = None, after: Event | None = None) -> Sent:
        if to is None:
            to = self.empty(tuple(source.shape), source.dtype)
        elif (last := self.received.get(to.untyped_storage().data_ptr())) is not None:
            assert isinstance(after, LateEvent)
            assert -after.number > last, "written over while it is used"
        before = self.sent.get(source.untyped_storage().data_ptr())
        assert before is None or before.waited, "filled again before it was sent"
        self.queue.append(lambda: to.copy_(source))
        done = self.sent[source.untyped_storage().data_ptr()] = LateEvent(self, len(self.queue))
        return Sent(to, done)

    def receive(self, sent: Sent) -> Tensor:
        assert isinstance(sent.done, LateEvent)
        self.work_up_to(sent.done.number)
        self.receipts += 1
        self.received[sent.tensor.untyped_storage().data_ptr()] = self.receipts
        return sent.tensor

    def work_up_to(self, number: int) -> None:
        with self.lock:
            while self.worked < number:
                self.queue[self.worked]()
                self.worked += 1
