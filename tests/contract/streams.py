"""Streams, events and graphs that do nothing until somebody waits for them.

Work on a stream runs at the latest moment that CUDA allows: when the host synchronises with it, or
when work that was made to wait for it runs.  A program that reads a result without waiting reads
what was there before, every time and not once in a while.

Sources: CUDA Runtime API, "Stream Management", "Event Management", "Graph Management", "Stream
synchronization behavior" (the legacy default stream waits for all blocking streams and they for
it); CUDA C++ Programming Guide, "Creating a Graph Using Stream Capture", "Cross-stream
Dependencies and Events", "Prohibited and Unhandled Operations", "Invalidation";
``cudaThreadExchangeStreamCaptureMode``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.cuda_status import (
    CAPTURE_INVALIDATED,
    CAPTURE_ISOLATION,
    CAPTURE_UNJOINED,
    CAPTURE_UNMATCHED,
    CAPTURE_UNSUPPORTED,
    CAPTURE_WRONG_THREAD,
    CAPTURED_EVENT,
    ILLEGAL_STATE,
    CudaFault,
)

GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2


@dataclass
class Work:
    """One thing that a stream will do."""

    run: Callable[[], None]
    what: str
    done: bool = False


@dataclass
class Capture:
    """A graph that is being recorded.

    Attributes:
        origin: The stream on which it began; it must end there.
        mode: Global, thread-local or relaxed.
        thread: The thread that began it.
        work: What was recorded, in an order that keeps all dependencies.
        unjoined: Other streams whose last work the origin does not wait for yet.
        broken: Why the capture became invalid, empty while it is sound.
        ended: Whether it is over.
    """

    origin: Stream
    mode: int
    thread: int
    work: list[Work] = field(default_factory=list)
    unjoined: set[int] = field(default_factory=set)
    members: list[Stream] = field(default_factory=list)
    broken: str = ""
    ended: bool = False


@dataclass
class Graph:
    """A recorded graph; made executable it is a copy of the same list."""

    work: list[Work]
    alive: bool = True


class Stream:
    """A queue of work.

    Args:
        handle: What the program calls it; 0 is the legacy default stream.
        blocking: Whether it takes part in the default stream's implicit waiting.
    """

    def __init__(self, handle: int, blocking: bool) -> None:
        self.handle = handle
        self.blocking = blocking
        self.queue: deque[Work] = deque()
        self.last: Work | None = None
        self.capture: Capture | None = None
        self.alive = True
        self.polls = 0

    def push(self, work: Work) -> Work:
        """Put work on the queue, or into the graph that is being captured."""
        if self.capture is not None:
            if self.capture.broken:
                raise CudaFault(CAPTURE_INVALIDATED, self.capture.broken)
            self.capture.work.append(work)
            if self is not self.capture.origin:
                self.capture.unjoined.add(self.handle)
            return work
        self.queue.append(work)
        self.last = work
        return work

    def drain(self, until: Work | None = None) -> None:
        """Do what is queued, up to and with ``until``."""
        while self.queue and not (until is not None and until.done):
            work = self.queue.popleft()
            work.done = True  # work that fails is not tried again
            work.run()


class Event:
    """A mark in a stream."""

    def __init__(self, handle: int, timing: bool) -> None:
        self.handle = handle
        self.timing = timing
        self.recorded: tuple[Stream, Work] | None = None
        self.capture: Capture | None = None
        self.time_s: float | None = None
        self.alive = True
        self.polls = 0

    def record(self, stream: Stream) -> None:
        """``cudaEventRecord``."""
        if stream.capture is not None:
            stream.push(Work(lambda: None, "event"))
            self.capture, self.recorded = stream.capture, (stream, stream.capture.work[-1])
            return

        def mark() -> None:
            self.time_s = time.perf_counter()

        self.capture, self.time_s = None, None
        self.recorded = (stream, stream.push(Work(mark, "event")))

    def refuse_captured(self) -> None:
        """The host cannot wait for a mark that lies in a graph."""
        if self.capture is not None:
            raise CudaFault(CAPTURED_EVENT, "the event was last recorded while capturing")

    def reach(self) -> None:
        """Run everything that lies before the mark."""
        if self.recorded is not None:
            stream, work = self.recorded
            if not work.done:
                stream.drain(work)


def wait_for(stream: Stream, event: Event) -> None:
    """``cudaStreamWaitEvent``."""
    if event.capture is not None:
        capture = event.capture
        if capture.ended:
            event.refuse_captured()
        if stream.capture is None:  # the other stream joins the capture
            stream.capture = capture
            capture.members.append(stream)
        elif stream.capture is not capture:
            raise CudaFault(CAPTURE_ISOLATION, "the event belongs to another capture")
        if event.recorded is not None and stream is capture.origin:
            capture.unjoined.discard(event.recorded[0].handle)
        return
    if stream.capture is not None:
        stream.capture.broken = "waits for work outside of the capture"
        raise CudaFault(CAPTURE_ISOLATION, stream.capture.broken)
    if event.recorded is not None:
        waited, work = event.recorded

        def catch_up() -> None:
            if not work.done:
                waited.drain(work)

        stream.push(Work(catch_up, "wait"))


def begin_capture(stream: Stream, mode: int) -> Capture:
    """``cudaStreamBeginCapture``."""
    if stream.handle == 0:
        raise CudaFault(CAPTURE_UNSUPPORTED, "the legacy default stream cannot be captured")
    if stream.capture is not None:
        raise CudaFault(ILLEGAL_STATE, "this stream is capturing already")
    stream.capture = Capture(stream, mode, threading.get_ident(), members=[stream])
    return stream.capture


def end_capture(stream: Stream) -> Graph:
    """``cudaStreamEndCapture``: the graph, or the reason why there is none."""
    capture = stream.capture
    if capture is None:
        raise CudaFault(ILLEGAL_STATE, "this stream is not capturing")
    if capture.origin is not stream:
        capture.broken = "ended on a stream on which it did not begin"
        raise CudaFault(CAPTURE_UNMATCHED, capture.broken)
    if capture.mode != RELAXED and capture.thread != threading.get_ident():
        raise CudaFault(CAPTURE_WRONG_THREAD, "begun by another thread")
    capture.ended = True
    for member in capture.members:
        member.capture = None
    if capture.broken:
        raise CudaFault(CAPTURE_INVALIDATED, capture.broken)
    if capture.unjoined:
        raise CudaFault(CAPTURE_UNJOINED, f"streams {sorted(capture.unjoined)} were not joined")
    return Graph(list(capture.work))
