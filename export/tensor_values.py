"""Every tensor inside an ONNX file while it runs, a few at a time.

All tensors of a network at once may take more memory than the machine has, so the file runs
several times over the same images, each time with some of its tensors as outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from differseg.errors import DifferSegError

CHUNK_BYTES = 512 << 20
"""Bytes of tensors that are looked at in one run."""
_UNKNOWN_BYTES = 16 << 20
"""What a tensor without a known shape counts as."""

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
"""Graph input name -> array."""


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the names of the floating-point tensors that nodes make, in order."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    types = {info.name: info.type.tensor_type.elem_type for info in _described(model)}
    made = (name for node in model.graph.node for name in node.output if name)
    return [name for name in made if types.get(name) in floats]


def tensor_values(
    model: onnx.ModelProto,
    names: Sequence[str],
    feeds: Iterable[Feed],
    *,
    threads: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[tuple[int, dict[str, Array]]]:
    """Run a model and yield some of its tensors at a time.

    Args:
        model: With shapes of its tensors, which every exported file has; without external data.
        names: Tensors that nodes of the graph make.
        feeds: Inputs of every run; read once for each group of tensors.
        threads: Of ONNX Runtime; 0 takes one per core.
        chunk_bytes: How large the tensors of one run may be together.

    Yields:
        The number of the feed, and some tensors by name: each tensor once for each feed.

    Raises:
        DifferSegError: ONNX Runtime cannot run the graph, in its words.
    """
    for chunk in _chunks(model, names, chunk_bytes):
        session = _session(model, chunk, threads)
        for number, feed in enumerate(feeds):
            yield number, dict(zip(chunk, _run(session, chunk, feed), strict=True))
        del session


def _run(session: onnxruntime.InferenceSession, names: Sequence[str], feed: Feed) -> list[Array]:
    needed = {entry.name for entry in session.get_inputs()}
    try:
        found: list[Array] = session.run(
            list(names), {name: value for name, value in feed.items() if name in needed}
        )
    except Exception as error:  # its exceptions share no base but Exception
        raise DifferSegError(f"onnxruntime: the run failed: {_line(error)}") from None
    return found


def _session(
    model: onnx.ModelProto, names: Sequence[str], threads: int
) -> onnxruntime.InferenceSession:
    kept = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # likewise
        raise DifferSegError(f"onnxruntime: cannot open the graph: {_line(error)}") from None
    finally:
        del model.graph.output[:]
        model.graph.output.extend(kept)


def _line(error: Exception) -> str:
    return f"{' '.join(str(error).split()):.300}"


def _chunks(model: onnx.ModelProto, names: Sequence[str], limit: int) -> Iterator[list[str]]:
    sizes = {info.name: _bytes_of(info) for info in _described(model)}
    chunk: list[str] = []
    total = 0
    for name in dict.fromkeys(names):
        size = sizes.get(name, _UNKNOWN_BYTES)
        if chunk and total + size > limit:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += size
    if chunk:
        yield chunk


def _described(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    yield from model.graph.value_info
    yield from model.graph.output


def _bytes_of(info: onnx.ValueInfoProto) -> int:
    kind = info.type.tensor_type
    if not kind.HasField("shape") or any(not axis.HasField("dim_value") for axis in kind.shape.dim):
        return _UNKNOWN_BYTES
    count = int(np.prod([axis.dim_value for axis in kind.shape.dim], dtype=np.int64))
    return count * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
