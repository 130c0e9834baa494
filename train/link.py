"""Send rows to a GPU from pinned memory, by a stream of its own, while the GPU computes.

Copies from ordinary ("pageable") memory reach a sixth of the bus's rate, and make the host wait for all that the GPU
has still to do. Those from pinned memory do neither. What must come after what is said by events on the device: the
stream that computes waits for a copy there, and the host does not.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor

BUFFERS = 2  # of pinned memory that take turns: one is filled while the other is sent


@runtime_checkable
class Event(Protocol):
    """A point in the work of a device."""

    def synchronize(self) -> None:
        """Make this thread wait until the device has come there."""
        ...


class Sent(NamedTuple):
    """A tensor of the device that a copy fills; it may be used once it is received."""

    tensor: Tensor
    done: Event


@runtime_checkable
class Link(Protocol):
    """The way to a device."""

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate host memory from which a device copies by itself."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate memory of the device for what is sent."""
        ...

    def reached(self) -> Event:
        """Return the point that comes after all that was launched so far."""
        ...

    def send(self, source: Tensor, to: Tensor | None = None, after: Event | None = None) -> Sent:
        """Begin to copy from pinned memory, once the device has come to `after`; `source` must stay as it is."""
        ...

    def receive(self, sent: Sent) -> Tensor:
        """Let what is launched from now on wait for the copy, and return the tensor."""
        ...


class CudaLink:
    """The way to one GPU: its copies have a stream of their own, and from its memory come the tensors they fill."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate pinned memory; torch rounds the bytes up to a power of two."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate memory that the stream of copies owns; it is reused once both streams are done with it."""
        with torch.cuda.stream(self.stream):
            return torch.empty(shape, dtype=dtype, device=self.device)

    def reached(self) -> torch.cuda.Event:
        """Record an event on the stream that computes."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        return event

    def send(self, source: Tensor, to: Tensor | None = None, after: Event | None = None) -> Sent:
        """Copy on the stream of copies."""
        to = self.empty(tuple(source.shape), source.dtype) if to is None else to
        if isinstance(after, torch.cuda.Event):
            self.stream.wait_event(after)
        done = torch.cuda.Event(blocking=True)  # a thread that waits for it sleeps
        with torch.cuda.stream(self.stream):
            to.copy_(source, non_blocking=True)
            done.record(self.stream)
        return Sent(to, done)

    def receive(self, sent: Sent) -> Tensor:
        """Let the stream that computes wait for the copy; its memory is kept until that stream is done with it."""
        stream = torch.cuda.current_stream(self.device)
        assert isinstance(sent.done, torch.cuda.Event)
        stream.wait_event(sent.done)
        sent.tensor.record_stream(stream)
        return sent.tensor


@cache
def link_to(device: torch.device) -> Link | None:
    """Return the way to a GPU, one for the process; None for a CPU, which has no other memory."""
    return CudaLink(device) if device.type == "cuda" else None


def send_ahead(
    batches: Iterable[Shaped[Tensor, "_ d"]], link: Link | None, ahead: int = BUFFERS
) -> Iterator[Shaped[Tensor, "_ d"]]:
    """Yield batches of host memory on the device, none larger than the first; without a link, as they are.

    While one is used, a thread makes the next, copies it into pinned memory and sends it.
    """
    if link is None:
        yield from batches
        return
    source = iter(batches)
    first = next(source, None)
    if first is None:
        return
    buffers = [link.pinned(tuple(first.shape), first.dtype) for _ in range(ahead)]
    sent: list[Sent | None] = [None] * ahead

    def pinned(batch: Tensor, turn: int) -> Sent:
        before = sent[turn]
        if before is not None:
            before.done.synchronize()  # this thread's, not the host's that launches
        sent[turn] = now = link.send(buffers[turn][: len(batch)].copy_(batch))
        return now

    def following(turn: int) -> Sent | None:
        batch = next(source, None)
        return None if batch is None else pinned(batch, turn)

    with ThreadPoolExecutor(1) as sender:
        coming = sender.submit(pinned, first, 0)
        turn = 0
        while (here := coming.result()) is not None:
            turn = (turn + 1) % ahead
            coming = sender.submit(following, turn)
            yield link.receive(here)
            del here  # its memory is free for a later batch
