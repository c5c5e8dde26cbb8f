"""Scales by the calibration of NVIDIA ModelOpt, where it is installed and asked for by name.

ModelOpt gets the nodes of our placement, so that the choice of what is int8 stays ours, and its
scales are read out of the graph that it writes.  Its ``onnx`` extra asks for versions of its own
(0.47: onnx 1.21, onnxruntime 1.24), so it belongs into an environment of its own.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import onnx
from onnx import numpy_helper
from onnxruntime.quantization.calibrate import CalibrationDataReader

from differseg.errors import CheckFailedError, DifferSegError, MissingComponentError
from differseg.export.tensor_values import Array, Feed

ModelOptMethod = Literal["modelopt-max", "modelopt-entropy"]
METHODS: dict[str, str] = {"modelopt-max": "max", "modelopt-entropy": "entropy"}
"""Our name of a method -> ModelOpt's."""


class _Reader(CalibrationDataReader):
    """Hands images to ONNX Runtime's calibration."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = feeds
        self._left: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._left, None)

    def get_first(self) -> Mapping[str, Array]:
        """What ModelOpt learns the inputs' names and shapes from."""
        return next(iter(self._feeds))

    def rewind(self) -> None:
        self._left = iter(self._feeds)


def modelopt_scales(
    model: onnx.ModelProto,
    nodes: Iterable[str],
    groups: Sequence[tuple[str, ...]],
    feeds: Iterable[Feed],
    method: ModelOptMethod,
) -> dict[str, float]:
    """Return the scale of every tensor; those of a group have the largest one's.

    Args:
        model: A float32 graph with shapes.
        nodes: Those that shall read int8.
        groups: The tensors that they read, those with one scale together.
        feeds: Inputs of real images.
        method: One of :data:`METHODS`.

    Raises:
        MissingComponentError: ModelOpt is not installed.
        DifferSegError: It fails, in its words.
        CheckFailedError: It gives a tensor no scale.
    """
    try:
        from modelopt.onnx.quantization import quantize
    except ImportError as error:
        raise MissingComponentError(
            f"quantize: --method {method} needs NVIDIA ModelOpt ({error}); install it beside "
            "differseg in an environment of its own: pip install 'nvidia-modelopt[onnx]'"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        source, written = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        silence = io.StringIO()  # it and what it uses tell of themselves
        try:
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                quantize(
                    str(source), quantize_mode="int8", calibration_data_reader=_Reader(feeds),
                    calibration_method=METHODS[method], calibration_eps=["cpu"],
                    nodes_to_quantize=[f"{re.escape(name)}$" for name in nodes],
                    high_precision_dtype="fp32", passes=[], output_path=str(written),
                    log_level="CRITICAL",
                )  # fmt: skip
            found = _scales(onnx.load(written))
        except Exception as error:  # whatever its own packages raise
            text = " ".join(str(error).split())
            raise DifferSegError(f"ModelOpt: {type(error).__name__}: {text:.300}") from None
    missing = [name for group in groups for name in group if not found.get(name, 0) > 0]
    if missing:
        raise CheckFailedError(
            f"ModelOpt gives {len(missing)} tensor(s) no scale, the first is '{missing[0]}'; take "
            "--method percentile"
        )
    return {name: max(found[other] for other in group) for group in groups for name in group}


def _scales(model: onnx.ModelProto) -> dict[str, float]:
    constants = {entry.name: entry for entry in model.graph.initializer}
    return {
        node.input[0]: float(numpy_helper.to_array(constants[node.input[1]]).max())
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }
