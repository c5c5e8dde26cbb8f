"""TensorRT engines, without a call of the host between copy, compute and copy.

Frames go to the GPU as the camera gives them (the graph normalises), and what comes back is what
the graph gives: the class map of a graph that ends in one, else probabilities.
Three streams, for copies in, the network, and copies out, are tied by events; two slots of buffers
let a frame be computed while the next is filled and the one before is read.  The network's launch
is captured as a CUDA graph once it has run, since a shape's first launch allocates
(NVIDIA/TensorRT, samples/common/sampleInference.cpp).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from differseg.errors import DifferSegError, InputError, ModelFileError
from differseg.manifest import InputSpec, OutputSpec
from differseg.runtime.backends.tensorrt_engine import load_engine
from differseg.runtime.backends.tensorrt_slots import Layout, Slot
from differseg.runtime.cuda import Cuda, Handle, open_cuda
from differseg.signing import Key

SLOTS = 2
"""One frame is computed while another is filled or read."""
WARM_UP = 3
"""Launches before the capture: the first of a shape allocates, the next settle clocks."""


class TensorRtBackend:
    """One engine on the first GPU; see :class:`differseg.runtime.backends.Backend`.

    :meth:`run` fills ``outputs`` from ``inputs``, which are those of the first slot.  A caller that
    overlaps frames fills ``slots[i].inputs``, calls :meth:`start`, works on the other slot, and
    calls :meth:`finish` before it reads ``slots[i].outputs``.

    Args:
        model_file: An .engine file with its sidecar.
        key: Whose signature of the sidecar is asked for; None asks for none.
        graphs: Capture the launch as a CUDA graph where the binding knows them.
        why: Why it was chosen, for ``reason``.
        cuda: The GPU; None opens the first one.

    Raises:
        ModelFileError, ManifestError, CheckFailedError: The file must not be loaded here, see
            :func:`differseg.runtime.engine_file.open_engine_file`, or TensorRT refuses it.
        MissingComponentError: TensorRT, a binding of CUDA, or the GPU is missing.
        DifferSegError: The GPU has not enough memory.
    """

    def __init__(
        self,
        model_file: str | Path,
        *,
        key: Key | None = None,
        graphs: bool = True,
        why: str = "asked for",
        cuda: Cuda | None = None,
    ) -> None:
        self._path = Path(model_file)
        self._cuda = open_cuda() if cuda is None else cuda
        self._slots: list[Slot] = []
        self._streams: list[Handle] = []
        self._graphs = graphs and self._cuda.has_graphs
        self._graph_problem = "" if graphs else "not asked for"
        if graphs and not self._cuda.has_graphs:
            self._graph_problem = f"{self._cuda.binding} has none"
        with self._cuda.active():
            self._loaded = load_engine(self._path, self._cuda, key)
            self.manifest = self._loaded.sidecar.manifest
            self._engine, self._context = self._loaded.engine, self._loaded.context
            self._check_tensors()
            for _ in range(3):
                self._streams.append(self._cuda.stream())
            self._in, self._compute, self._out = self._streams
            try:
                self._set_up({})
            except BaseException:
                self.close()
                raise
        self.name = f"{self._loaded.sidecar.built_for.library} {self._cuda.device}"
        self._why = why

    @property
    def reason(self) -> str:
        """Why this engine, and how it is run."""
        memory = "memory shared with the GPU" if self._cuda.integrated else "page-locked buffers"
        graph = "CUDA graph" if self._graphs else f"no CUDA graph ({self._graph_problem})"
        return f"{self._why}; {self._cuda.binding}, {memory}, {graph}"

    @property
    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """The first slot's inputs."""
        return self._slots[0].inputs if self._slots else {}

    @property
    def outputs(self) -> dict[str, npt.NDArray[Any]]:
        """The first slot's outputs."""
        return self._slots[0].outputs if self._slots else {}

    @property
    def slots(self) -> Sequence[Slot]:
        """The buffers of the frames that may be on their way at once."""
        return self._slots

    def reshape(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Give inputs of a dynamic engine other shapes; buffers are new and graphs captured anew.

        Args:
            shapes: Input name -> shape.

        Raises:
            InputError: There is no such input, or the engine does not take the shape.
            DifferSegError: The GPU has not enough memory, or the model is closed.
        """
        self._check_open()
        for name in shapes:
            if self.manifest_input(name) is None:
                known = ", ".join(spec.name for spec in self.manifest.inputs)
                raise InputError(f"engine {self._path}: no input '{name}'; it has {known}")
        with self._cuda.active():
            self._wait_for_all()
            self._release_slots()
            self._set_up(shapes)

    def manifest_input(self, name: str) -> InputSpec | None:
        """Return what the manifest says of an input."""
        return next((spec for spec in self.manifest.inputs if spec.name == name), None)

    def run(self) -> None:
        """Run the network once, from ``inputs`` to ``outputs``.

        Raises:
            DifferSegError: The launch failed, or the model is closed.
        """
        self.start(0)
        self.finish(0)

    def start(self, index: int) -> None:
        """Enqueue one inference of a slot: copies in, network, copies out.

        The slot's arrays belong to the GPU until :meth:`finish`.

        Raises:
            DifferSegError: The launch failed, or the model is closed.
        """
        self._check_open()
        slot, cuda = self._slots[index], self._cuda
        with cuda.active():
            slot.upload(self._in)
            cuda.record(slot.copied, self._in)
            cuda.wait(self._compute, slot.copied)
            self._launch(slot)
            cuda.record(slot.computed, self._compute)
            cuda.wait(self._out, slot.computed)
            slot.download(self._out)
            cuda.record(slot.done, self._out)

    def finish(self, index: int) -> None:
        """Wait until what :meth:`start` enqueued for a slot is in its outputs.

        Raises:
            DifferSegError: The GPU reported an error, or the model is closed.
        """
        self._check_open()
        with self._cuda.active():
            self._cuda.finish(self._slots[index].done)

    def close(self) -> None:
        """Give the engine's memory back; safe to call twice."""
        if not self._streams:
            return
        with self._cuda.active():
            try:
                self._wait_for_all()
            finally:
                self._release_slots()
                for stream in self._streams:
                    self._cuda.close_stream(stream)
                self._streams = []
                del self._in, self._compute, self._out
                # The context first, then the engine, then the runtime that made them.
                del self._context, self._engine, self._loaded

    def _check_open(self) -> None:
        if not self._streams:
            raise DifferSegError(f"engine {self._path}: the model is closed; open it again")

    def _wait_for_all(self) -> None:
        for stream in self._streams:
            self._cuda.finish_stream(stream)

    def _release_slots(self) -> None:
        for slot in self._slots:
            slot.close()
        self._slots = []

    def _check_tensors(self) -> None:
        """Compare the engine's inputs and outputs with the manifest's, by name and type."""
        trt, engine = self._loaded.trt, self._engine
        where = f"engine {self._path}: the engine is not the one its sidecar describes"
        found: dict[str, dict[str, Any]] = {"input": {}, "output": {}}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            mode = engine.get_tensor_mode(name)
            kind = "input" if mode == trt.TensorIOMode.INPUT else "output"
            found[kind][name] = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        specs: dict[str, Sequence[InputSpec | OutputSpec]] = {
            "input": self.manifest.inputs,
            "output": self.manifest.outputs,
        }
        for kind, described in specs.items():
            wanted = {spec.name: spec.dtype for spec in described}
            if found[kind] != wanted:
                raise ModelFileError(
                    f"{where}: {kind}s are {_listed(found[kind])}, the manifest says "
                    f"{_listed(wanted)}; build it again"
                )

    def _set_up(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Set the shapes, make the slots, and capture their launches."""
        inputs: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        for spec in self.manifest.inputs:
            shape = tuple(shapes.get(spec.name, ())) or self._usual_shape(spec.name)
            if not self._context.set_input_shape(spec.name, shape):
                raise InputError(
                    f"engine {self._path}: input '{spec.name}' does not take the shape "
                    f"{list(shape)}; it takes {self._range_of(spec.name)}"
                )
            inputs[spec.name] = (shape, np.dtype(spec.dtype))
        outputs: Layout = {
            spec.name: (self._shape_of(spec.name), np.dtype(spec.dtype))
            for spec in self.manifest.outputs
        }
        for _ in range(SLOTS):
            self._slots.append(Slot(self._cuda, inputs, outputs))
        for slot in self._slots:
            self._bind(slot)
            slot.upload(self._compute)  # zeros
            for _ in range(WARM_UP):
                self._enqueue()
            self._cuda.finish_stream(self._compute)
            if self._graphs:
                self._capture(slot)

    def _usual_shape(self, name: str) -> tuple[int, ...]:
        """Return an input's shape; of a dynamic one the size that the engine was tuned for."""
        shape = tuple(self._engine.get_tensor_shape(name))
        if min(shape, default=1) > 0:
            return shape
        return tuple(self._engine.get_tensor_profile_shape(name, 0)[1])

    def _range_of(self, name: str) -> str:
        shape = tuple(self._engine.get_tensor_shape(name))
        if min(shape, default=1) > 0:
            return str(list(shape))
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        return f"{list(least)} to {list(most)}"

    def _shape_of(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if min(shape, default=1) < 1 or math.prod(shape) < 1:
            raise ModelFileError(
                f"engine {self._path}: the size of output '{name}' depends on what is computed "
                f"({list(shape)}); export the model with --size HxW"
            )
        return shape

    def _bind(self, slot: Slot) -> None:
        for name, address in slot.addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise DifferSegError(
                    f"engine {self._path}: TensorRT refused the buffer of '{name}'"
                )

    def _enqueue(self) -> None:
        """Enqueue the network for the addresses that are bound."""
        if not self._context.execute_async_v3(self._cuda.stream_number(self._compute)):
            raise DifferSegError(
                f"engine {self._path}: TensorRT could not launch it; run with another --backend, "
                "or build the engine again"
            )

    def _launch(self, slot: Slot) -> None:
        if slot.graph is not None:
            self._cuda.launch(slot.graph, self._compute)
            return
        self._bind(slot)
        self._enqueue()

    def _capture(self, slot: Slot) -> None:
        """Keep the launch for the slot's addresses; go on without where it cannot be captured."""
        self._cuda.begin_capture(self._compute)
        problem: DifferSegError | None = None
        try:
            self._enqueue()
        except DifferSegError as error:  # a plugin that may not be captured
            problem = error
        try:
            slot.graph = self._cuda.end_capture(self._compute)
        except DifferSegError as error:
            problem = problem or error
        if problem is not None:
            slot.drop_graph()
            self._graphs, self._graph_problem = False, str(problem)
            for other in self._slots:
                other.drop_graph()


def _listed(tensors: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in sorted(tensors.items())) or "none"
