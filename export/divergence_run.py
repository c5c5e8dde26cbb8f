"""Run both sides layer by layer, in parts that fit in memory, and sum every tensor's error.

NVIDIA's Polygraphy runs and compares: ``ModifyOutputs`` marks the tensors of a part as outputs,
``OnnxrtRunner`` runs it, and a comparison functor of its protocol sums what
:mod:`differseg.export.divergence_result` defines.  Three facts of its source (0.53.6) decide what
else is used: its own functors sort every tensor for medians and know no error relative to the
whole tensor; ``Comparator.compare_accuracy`` computes a median and a histogram of every tensor for
its log even where the log is off, which took two thirds of a comparison; and ``PytRunner`` moves
its inputs to a CUDA device, so networks in PyTorch run by hooks of our own.
"""

from __future__ import annotations

import contextlib
import glob
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper
from polygraphy.backend.onnx import ModifyOutputs
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.comparator import IterationResult
from polygraphy.comparator.compare import BaseCompareFunc

from differseg.export.divergence_graph import LayerGraph, Part
from differseg.export.divergence_match import Row, read_rows
from differseg.export.parity_engine import quiet_polygraphy

Values = dict[str, npt.NDArray[Any]]
Infer = Callable[[Mapping[str, npt.NDArray[Any]]], Values]

CHUNK_BYTES = 96 << 20
"""Bytes of compared tensors in one part; a run holds about five times as much."""

_SAMPLED = 1 << 16  # elements that the median is taken over
_SMALLEST = 2.0**-14  # fp16's smallest normal number; a sigmoid's tail below it says nothing


class LayerSource(Protocol):
    """A side that gives the values of tensors by their names there."""

    def opened(self, names: Sequence[str]) -> contextlib.AbstractContextManager[Infer]:
        """Get ready to compute these; the result takes the network's inputs."""


@dataclass
class ErrorSum:
    """The error of one tensor, image after image.

    Attributes:
        highest: Largest magnitude of the reference.
        unfit: What the node reads has values that its type cannot hold, so that its own error
            says nothing.
    """

    error: float = 0.0
    power: float = 0.0
    largest: float = 0.0
    typical: float = 0.0
    nonfinite: int = 0
    highest: float = 0.0
    images: int = 0
    unfit: bool = False

    def add(self, reference: npt.NDArray[Any], judged: npt.NDArray[Any]) -> None:
        """Add one image's tensor; both of one shape."""
        a = reference.astype(np.float64).ravel()
        b = judged.astype(np.float64).ravel()
        self.images += 1
        both = np.isfinite(a) & np.isfinite(b)
        if not both.all():
            # Masks of minus infinity are meant, and equal on both sides.
            self.nonfinite += int(np.count_nonzero(~both & (a != b) & ~(np.isnan(a) & np.isnan(b))))
            a, b = a[both], b[both]
        if not a.size:
            return
        difference = np.abs(b - a)
        self.error += float(np.square(difference).sum())
        self.power += float(np.square(a).sum())
        self.largest = max(self.largest, float(difference.max()))
        self.highest = max(self.highest, float(np.abs(a).max()))
        step = max(1, a.size // _SAMPLED)
        some, off = np.abs(a[::step]), difference[::step]
        shown = some >= _SMALLEST
        if shown.any():
            self.typical = max(self.typical, float(np.median(off[shown] / some[shown])))

    @property
    def rms(self) -> float:
        """Relative root mean square; infinite where elements are NaN or infinite on one side."""
        if self.nonfinite:
            return math.inf
        if self.power > 0:
            return math.sqrt(self.error / self.power)
        return math.inf if self.error > 0 else 0.0

    def __bool__(self) -> bool:
        """Polygraphy asks whether outputs match; what is too much is decided later."""
        return not self.nonfinite


class OnnxLayers:
    """An ONNX graph that ONNX Runtime runs as it is written, without any optimisation.

    Args:
        graph: The whole graph.
        threads: Processor threads; 0 takes one per core.
    """

    def __init__(self, graph: LayerGraph, threads: int = 0) -> None:
        self.graph, self._threads = graph, threads

    @contextlib.contextmanager
    def opened(self, names: Sequence[str]) -> Iterator[Infer]:
        """Get ready to compute these tensors; a graph input is handed through."""
        made = [name for name in dict.fromkeys(names) if name in self.graph.producers]
        given = [name for name in names if name not in self.graph.producers]
        with self.running(self.graph.part(made)) as infer:
            yield lambda feed: {**infer(feed), **{name: feed[name] for name in given}}

    @contextlib.contextmanager
    def running(self, part: Part) -> Iterator[Infer]:
        """Run a part; the feed holds the graph's inputs and the part's cuts."""
        if not part.outputs:
            yield lambda feed: {}
            return
        # Polygraphy takes names with these characters for patterns.
        marked = [glob.escape(name) for name in part.outputs.values()]
        model = ModifyOutputs(part.model, outputs=marked)()
        names = {inner: name for name, inner in part.outputs.items()}
        taken = {name: _dtype(self.graph, name) for name in (*part.inputs, *part.cuts)}
        with OnnxrtRunner(lambda: self._session(model), name=self.graph.model.graph.name) as runner:

            def infer(feed: Mapping[str, npt.NDArray[Any]]) -> Values:
                with np.errstate(over="ignore"):  # a value beyond fp16 is infinite there too
                    inputs = {n: np.ascontiguousarray(feed[n], dtype=t) for n, t in taken.items()}
                found = runner.infer(OrderedDict(inputs))
                return {names[inner]: found[inner] for inner in names}

            yield infer

    def _session(self, model: onnx.ModelProto) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # many short runs
        # Errors then belong to the file, not to one engine's fusions; and Q/DQ mean what they say.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def _beyond(values: npt.NDArray[Any], kind: npt.DTypeLike) -> bool:
    """Whether a float type cannot hold some of the values."""
    if np.dtype(kind).itemsize >= values.dtype.itemsize:
        return False
    largest = float(np.finfo(kind).max)
    finite = values[np.isfinite(values)]
    return bool(finite.size) and float(np.abs(finite).max()) > largest


def _dtype(graph: LayerGraph, name: str) -> npt.DTypeLike:
    return helper.tensor_dtype_to_np_dtype(graph.inputs.get(name) or graph.types[name])


class _Errors(BaseCompareFunc):
    """Sums the errors of tensors that the two results call by the same name."""

    def __init__(self, sums: Mapping[str, ErrorSum]) -> None:
        self._sums = sums

    def __call__(
        self, iter_result0: IterationResult, iter_result1: IterationResult
    ) -> OrderedDict[str, ErrorSum]:
        found = OrderedDict()
        for name, sums in self._sums.items():
            sums.add(iter_result0[name], iter_result1[name])
            found[name] = sums
        return found


@dataclass
class LayerSums:
    """Both errors of every row, by tensor, and what they took."""

    total: dict[str, ErrorSum] = field(default_factory=dict)
    own: dict[str, ErrorSum] = field(default_factory=dict)
    runs: int = 0
    chunks: int = 0


def chunked(graph: LayerGraph, rows: Sequence[Row], limit_bytes: int) -> Iterator[list[Row]]:
    """Split the rows, in order, into groups of at most so many bytes (or of one row)."""
    chunk: list[Row] = []
    held = 0
    for row in rows:
        size = graph.bytes_of(row.tensor)
        if chunk and held + size > limit_bytes:
            yield chunk
            chunk, held = [], 0
        chunk.append(row)
        held += size
    if chunk:
        yield chunk


def sum_errors(
    layers: OnnxLayers,
    other: LayerSource,
    rows: Sequence[Row],
    feeds: Sequence[tuple[Mapping[str, npt.NDArray[Any]], Mapping[str, npt.NDArray[Any]]]],
    *,
    other_is_reference: bool = True,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Callable[[list[list[Row]]], Iterator[list[Row]]] | None = None,
) -> LayerSums:
    """Run every chunk on every image: the other side, the graph, and the graph's nodes alone.

    Args:
        layers: The side whose graph is known.
        other: The other one.
        rows: Matched tensors in the order of the graph.
        feeds: For each image the inputs of the graph and those of the other side.
        other_is_reference: Which of the two errors are relative to.
        chunk_bytes: Bytes of compared tensors at once.
        progress: Shows the way through the chunks.
    """
    result = LayerSums()
    graph = layers.graph
    cuts = {row.tensor: row.other for row in rows if graph.is_known(row.tensor)}
    reads = read_rows(graph, rows)
    chunks = list(chunked(graph, rows, chunk_bytes))
    for chunk in progress(chunks) if progress else iter(chunks):
        result.chunks += 1
        alone = graph.part([row.tensor for row in chunk], cuts)
        wanted = [*(row.other for row in chunk), *(cuts[name] for name in alone.cuts)]
        sums = [{row.tensor: ErrorSum() for row in chunk} for _ in range(2)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet_polygraphy())
            from_other = stack.enter_context(other.opened(list(dict.fromkeys(wanted))))
            whole = stack.enter_context(layers.opened([row.tensor for row in chunk]))
            single = stack.enter_context(layers.running(alone))
            for feed, other_feed in feeds:
                values = from_other(other_feed)
                given = {**feed, **{name: values[cuts[name]] for name in alone.cuts}}
                unfit = {n for n in alone.cuts if _beyond(given[n], _dtype(graph, n))}
                for row in chunk:
                    sums[1][row.tensor].unfit |= not unfit.isdisjoint(reads[row.tensor])
                held = {row.tensor: values[row.other] for row in chunk}
                for judged, into in ((whole(feed), sums[0]), (single(given), sums[1])):
                    pair = (held, judged) if other_is_reference else (judged, held)
                    _Errors(into)(*map(IterationResult, pair))
                result.runs += 3
        result.total.update(sums[0])
        result.own.update(sums[1])
    return result
