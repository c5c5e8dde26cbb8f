"""A computer with one NVIDIA device, as the fake bindings of CUDA see it.

Everything that ``cuda-python`` and ``pycuda`` expose goes through this one class, so both fakes
have the same rules: unsafe calls while capturing, the default stream's implicit waiting, errors
that stay.

Sources: see device_memory.py and streams.py; CUDA C++ Programming Guide, "Error Checking" (an
error of a kernel stays until the context dies: every later call returns it).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from contract.cuda_status import (
    CAPTURE_IMPLICIT,
    CAPTURE_UNSUPPORTED,
    ILLEGAL_ADDRESS,
    INSUFFICIENT_DRIVER,
    INVALID_HANDLE,
    INVALID_VALUE,
    NO_DEVICE,
    NOT_READY,
    CudaFault,
)
from contract.device import Device
from contract.device_memory import Block, DeviceMemory
from contract.streams import (
    GLOBAL,
    RELAXED,
    Capture,
    Event,
    Graph,
    Stream,
    Work,
    begin_capture,
    end_capture,
)

Direction = Literal["h2d", "d2h", "d2d", "h2h"]


@dataclass
class Machine:
    """The device with its memory, streams, events and graphs.

    Attributes:
        device: What it is; None for a computer without a usable device.
        faults: Every refused call and failed work, as text, in order.
        graph_launches: How many graphs were launched.
        injected: Name of a call -> errors of its next calls, see :meth:`fail`.
    """

    device: Device | None
    faults: list[str] = field(default_factory=list)
    graph_launches: int = 0
    injected: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.device or Device()
        self.memory = DeviceMemory(
            device.memory_bytes, device.unified_addressing, device.integrated
        )
        self.default = Stream(0, blocking=True)
        self.streams: dict[int, Stream] = {0: self.default}
        self.events: dict[int, Event] = {}
        self.graphs: dict[int, Graph] = {}
        self.executables: dict[int, Graph] = {}
        self.sticky: CudaFault | None = None
        self.lock = threading.RLock()
        self._handles = 0x5E00_0000

    # handles ------------------------------------------------------------------------------------

    def _handle(self) -> int:
        self._handles += 0x40
        return self._handles

    def stream(self, handle: int) -> Stream:
        """The live stream of a handle; 1 is ``cudaStreamLegacy``."""
        found = self.streams.get(0 if handle == 1 else handle)
        if found is None or not found.alive:
            raise CudaFault(INVALID_HANDLE, f"{handle:#x} is no stream")
        return found

    def event(self, handle: int) -> Event:
        """The live event of a handle."""
        found = self.events.get(handle)
        if found is None or not found.alive:
            raise CudaFault(INVALID_HANDLE, f"{handle:#x} is no event")
        return found

    def fail(self, call: str, code: int, after: int = 0) -> None:
        """Let a call fail that would succeed.

        Args:
            call: Its name, such as ``cudaMalloc`` or, for pycuda, ``cuMemAlloc``.
            code: The error.
            after: How many calls of it succeed before.
        """
        self.injected[call] = [0] * after + [code]

    def left(self) -> dict[str, int]:
        """What was made and not given back, by kind; empty when nothing is."""
        counts = {
            "device memory": sum(b.alive for b in self.memory.blocks if b.kind == "device"),
            "pinned memory": sum(b.alive for b in self.memory.blocks if b.kind == "pinned"),
            "streams": sum(s.alive for s in self.streams.values() if s is not self.default),
            "events": sum(event.alive for event in self.events.values()),
            "graphs": len(self.graphs) + len(self.executables),
        }
        return {kind: count for kind, count in counts.items() if count}

    # rules --------------------------------------------------------------------------------------

    def enter(self, unsafe: bool = False, what: str = "this call", legacy: bool = False) -> None:
        """At the start of every call.

        Args:
            unsafe: Whether the call may not be made while a stream captures.
            what: Its name.
            legacy: Whether it works on the legacy default stream (``cudaMemcpy``).
        """
        if self.device is None:
            raise CudaFault(NO_DEVICE, "no device")
        if self.device.driver // 1000 < self.device.runtime // 1000:
            raise CudaFault(INSUFFICIENT_DRIVER, "the driver is older than the runtime")
        if self.sticky is not None:
            raise self.sticky
        code = self.injected[what].pop(0) if self.injected.get(what) else 0
        if code:
            raise CudaFault(code, f"{what} was told to fail")
        if unsafe:
            for capture in self.captures():
                if legacy and capture.origin.blocking:
                    self.break_capture(capture, f"{what} uses the legacy default stream")
                    raise CudaFault(CAPTURE_IMPLICIT, f"{what} while a stream is capturing")
                mine = capture.thread == threading.get_ident()
                if capture.mode == GLOBAL or (mine and capture.mode != RELAXED):
                    self.break_capture(capture, f"{what} while a stream was capturing")
                    raise CudaFault(CAPTURE_UNSUPPORTED, f"{what} while a stream is capturing")

    def captures(self) -> list[Capture]:
        """All captures that are under way."""
        return [s.capture for s in self.streams.values() if s.capture and s.capture.origin is s]

    @staticmethod
    def break_capture(capture: Capture, why: str) -> None:
        """Invalidate: every later call that touches the capture fails."""
        capture.broken = capture.broken or why

    def push(self, stream: Stream, work: Work) -> None:
        """Queue work, with the legacy default stream's implicit waiting in both directions."""
        if stream is self.default:
            for capture in self.captures():
                if capture.origin.blocking:
                    self.break_capture(capture, "use of the legacy default stream")
                    raise CudaFault(CAPTURE_IMPLICIT, "the legacy stream would join the capture")
        if stream.capture is None and (stream is self.default or stream.blocking):
            others = (
                [s for s in self.streams.values() if s.blocking and s is not stream]
                if stream is self.default
                else [self.default]
            )
            for other in others:
                mark = other.last
                if mark is not None and not mark.done:
                    stream.push(Work(lambda o=other, m=mark: o.drain(m), "implicit wait"))
        stream.push(work)

    def finish(self, *streams: Stream) -> None:
        """Run what is queued; a fault of the work stays for ever."""
        try:
            with self.lock:
                for stream in streams:
                    stream.drain()
        except CudaFault as fault:
            self.sticky = fault
            raise

    # memory -------------------------------------------------------------------------------------

    def copy(self, target: int, source: int, size: int, way: Direction, stream: Stream) -> None:
        """``cudaMemcpyAsync``.

        Pageable host memory: a copy to the device takes the bytes at once, a copy from the device
        returns when it is complete (CUDA Runtime API, "API synchronization behavior").
        """
        self._check_copy(target, source, size, way)
        pageable = [
            address
            for address, is_host in ((target, way[2] == "h"), (source, way[0] == "h"))
            if is_host and self.memory.pinned_block(address, size) is None
        ]
        if pageable and stream.capture is not None:
            self.break_capture(stream.capture, "copy of pageable memory")
            raise CudaFault(CAPTURE_UNSUPPORTED, f"{pageable[0]:#x} is not page-locked")
        staged = None
        if way == "h2d" and pageable:
            staged = self.memory.host_view(source, size).copy()

        def run() -> None:
            view = self.memory.device_view
            read = (
                staged
                if staged is not None
                else self.memory.host_view(source, size)
                if way[0] == "h"
                else view(source, size, ILLEGAL_ADDRESS)
            )
            write = (
                self.memory.host_view(target, size)
                if way[2] == "h"
                else view(target, size, ILLEGAL_ADDRESS)
            )
            np.copyto(write, read)

        self.push(stream, Work(run, f"copy {way}"))
        if way == "d2h" and pageable:
            self.finish(stream)

    def _check_copy(self, target: int, source: int, size: int, way: Direction) -> None:
        """The runtime refuses wrong addresses when it is called, not later."""
        for address, place in ((target, way[2]), (source, way[0])):
            if place == "d":
                self.memory.device_view(address, size, INVALID_VALUE)
            else:
                self.memory.host_view(address, size)

    def fill(self, target: int, value: int, size: int, stream: Stream) -> None:
        """``cudaMemsetAsync``."""
        self.memory.device_view(target, size, INVALID_VALUE)

        def run() -> None:
            self.memory.device_view(target, size, ILLEGAL_ADDRESS)[:] = value & 0xFF

        self.push(stream, Work(run, "memset"))

    def allocate(self, size: int) -> Block:
        """``cudaMalloc``."""
        return self.memory.allocate(size)

    # streams, events, graphs --------------------------------------------------------------------

    def create_stream(self, blocking: bool) -> Stream:
        """``cudaStreamCreateWithFlags``."""
        made = Stream(self._handle(), blocking)
        self.streams[made.handle] = made
        return made

    def destroy_stream(self, handle: int) -> None:
        """``cudaStreamDestroy``: returns at once; what is queued runs when somebody waits."""
        self.stream(handle).alive = False

    def create_event(self, timing: bool) -> Event:
        """``cudaEventCreateWithFlags``."""
        made = Event(self._handle(), timing)
        self.events[made.handle] = made
        return made

    def record(self, event: Event, stream: Stream) -> None:
        """``cudaEventRecord``."""
        if stream is self.default:
            self.push(stream, Work(lambda: None, "order"))  # behind all blocking streams
        event.record(stream)

    def synchronize_stream(self, stream: Stream) -> None:
        """``cudaStreamSynchronize``."""
        if stream.capture is not None:
            self.break_capture(stream.capture, "synchronisation with the capturing stream")
            raise CudaFault(CAPTURE_UNSUPPORTED, "the stream is capturing")
        if stream is self.default:
            self.push(stream, Work(lambda: None, "synchronise"))
        self.finish(stream)

    def synchronize_device(self) -> None:
        """``cudaDeviceSynchronize``."""
        self.finish(*self.streams.values())

    def poll(self, waited: Stream | Event) -> None:
        """``cudaStreamQuery``, ``cudaEventQuery``: not ready the first time, then ready."""
        if isinstance(waited, Stream) and waited.capture is not None:
            self.break_capture(waited.capture, "query of the capturing stream")
            raise CudaFault(CAPTURE_UNSUPPORTED, "the stream is capturing")
        if isinstance(waited, Event):
            pending = waited.recorded is not None and not waited.recorded[1].done
        else:
            pending = bool(waited.queue)
        if not pending:
            return
        waited.polls += 1
        if waited.polls % 2:
            raise CudaFault(NOT_READY, "the work is not complete")
        try:
            with self.lock:
                waited.reach() if isinstance(waited, Event) else waited.drain()
        except CudaFault as fault:
            self.sticky = fault
            raise

    def wait_on_host(self, event: Event) -> None:
        """``cudaEventSynchronize``."""
        event.refuse_captured()
        try:
            with self.lock:
                event.reach()
        except CudaFault as fault:
            self.sticky = fault
            raise

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """``cudaEventElapsedTime``: both events recorded with timing and reached."""
        for event in (start, end):
            event.refuse_captured()
            if not event.timing or event.recorded is None:
                raise CudaFault(INVALID_HANDLE, "an event without timing, or never recorded")
            if event.time_s is None:
                raise CudaFault(NOT_READY, "an event that is not reached yet")
        return (end.time_s - start.time_s) * 1e3

    def attribute(self, number: int) -> int:
        """``cudaDeviceGetAttribute``, by the number of the attribute."""
        values = self.device.attributes()
        if number not in values:
            raise CudaFault(INVALID_VALUE, f"attribute {number} is not modelled")
        return values[number]

    def begin_capture(self, stream: Stream, mode: int) -> None:
        """``cudaStreamBeginCapture``."""
        begin_capture(stream, mode)

    def end_capture(self, stream: Stream) -> int:
        """``cudaStreamEndCapture``: handle of the graph."""
        graph = end_capture(stream)
        handle = self._handle()
        self.graphs[handle] = graph
        return handle

    def instantiate(self, graph: int) -> int:
        """``cudaGraphInstantiate``: handle of the executable graph."""
        found = self.graphs.get(graph)
        if found is None:
            raise CudaFault(INVALID_VALUE, f"{graph:#x} is no graph")
        handle = self._handle()
        self.executables[handle] = Graph(list(found.work))
        return handle

    def launch(self, executable: int, stream: Stream) -> None:
        """``cudaGraphLaunch``: the work of the capture again, addresses and shapes included."""
        graph = self.executables.get(executable)
        if graph is None:
            raise CudaFault(INVALID_VALUE, f"{executable:#x} is no executable graph")
        self.graph_launches += 1

        def run() -> None:
            for work in graph.work:
                work.run()

        self.push(stream, Work(run, "graph"))
