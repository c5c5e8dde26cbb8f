"""OpenVINO on the processor, with buffers that are bound once and a precision that is always said.

Left to itself OpenVINO computes a float32 file in bfloat16 on processors with AVX-512 (and in
float16 where there is that), whether or not they have instructions for it: its CPU plug-in asks for
AVX-512 alone (``src/plugins/intel_cpu/src/utils/precision_support.cpp``).  Asked for float16 where
there is none, it takes bfloat16 without a word.  So the precision is always set, and what the
compiled model says is compared with it.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

import numpy.typing as npt

from differseg.errors import DifferSegError, InputError, MissingComponentError, ModelFileError
from differseg.manifest import Manifest
from differseg.runtime.backends import CpuPrecision
from differseg.runtime.backends.cpu_features import cpu_flags, is_x86
from differseg.runtime.backends.openvino_int8 import write_unsigned
from differseg.runtime.backends.resources import buffers, usable_cores
from differseg.runtime.model_file import GraphTensor, check_graph, one_line, read_manifest

INSTALL = "pip install 'differseg[openvino]'"
"""What brings it."""

_CAPABILITIES: dict[CpuPrecision, str] = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_CORE_LOCK = threading.Lock()
_DTYPES = {"u8": "uint8", "f32": "float32", "f16": "float16"}


def import_openvino() -> Any:
    """Return the openvino package.

    Raises:
        MissingComponentError: It is not installed, or does not load.
    """
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise MissingComponentError(
            f"OpenVINO cannot be loaded ({one_line(error)}); install it with: {INSTALL}"
        ) from None
    return openvino


def openvino_core() -> Any:
    """Return the ``openvino.Core`` of this process; every model is read and compiled by it.

    There is one, and it lives as long as the process.  Its CPU plug-in gives the thread a stack for
    signal handlers (AMX needs a larger one), and takes it away when the core goes.  Of two cores,
    or in another thread, what is taken away is not what is in use: the next signal would then end
    the process.  (``SigAltStackSetup`` in ``src/plugins/intel_cpu/src/plugin.cpp``,
    openvinotoolkit/openvino#11894.)

    Raises:
        MissingComponentError: OpenVINO is not installed, or does not load.
    """
    with _CORE_LOCK:
        return _core()


@functools.cache
def _core() -> Any:
    return import_openvino().Core()


class OpenVinoBackend:
    """One compiled model on the processor; see :class:`differseg.runtime.backends.Backend`.

    Args:
        model_file: An .onnx file with a manifest and fixed sizes.
        threads: Threads of one run; None takes one per core that this process may use.
        cpu_precision: What float32 parts of the graph are computed in; None takes float32.
        why: Why this engine was chosen, for ``reason``.

    Raises:
        ModelFileError, ManifestError: The file cannot be used; the text says why.
        MissingComponentError: OpenVINO is not installed, or has no part for processors.
        InputError: The processor has no such precision.
    """

    def __init__(
        self,
        model_file: str | Path,
        *,
        threads: int | None = None,
        cpu_precision: CpuPrecision | None = None,
        why: str = "asked for",
    ) -> None:
        path = Path(model_file)
        self.manifest = read_manifest(path)
        self.threads = threads or usable_cores()
        self.precision: CpuPrecision = cpu_precision or "f32"
        openvino = import_openvino()
        compiled, note = _compiled(openvino, path, self.manifest, self.precision, self.threads)
        self.name = "openvino CPU"
        self.reason = "; ".join(
            (
                why,
                f"{self.threads} threads, " + ("asked for" if threads else "one per usable core"),
                f"computes in {self.precision}, " + ("asked for" if cpu_precision else "as always"),
                *note,
            )
        )
        self.inputs: dict[str, npt.NDArray[Any]] = buffers(self.manifest.inputs)
        self.outputs: dict[str, npt.NDArray[Any]] = buffers(self.manifest.outputs)
        self._request = compiled.create_infer_request()
        for name, array in (*self.inputs.items(), *self.outputs.items()):
            self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def run(self) -> None:
        """Run the network once, from ``inputs`` to ``outputs``.

        Raises:
            DifferSegError: OpenVINO failed (out of memory, for instance), or it is closed.
        """
        if self._request is None:
            raise DifferSegError("openvino: the model is closed; open it again")
        try:
            self._request.infer(share_outputs=True)  # else it copies what is in our buffers already
        except RuntimeError as error:
            raise DifferSegError(f"openvino: the run failed: {_said(error):.300}") from None

    def close(self) -> None:
        """Give the model's memory back; safe to call twice."""
        self._request = None


def _compiled(
    openvino: Any, path: Path, manifest: Manifest, precision: CpuPrecision, threads: int
) -> tuple[Any, list[str]]:
    """Load and compile a file, and check its graph against its manifest; with notes on it."""
    core = openvino_core()
    if "CPU" not in core.available_devices:
        raise MissingComponentError(
            f"OpenVINO is installed without its CPU plug-in; install it again with: {INSTALL}"
        )
    _check_precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Threads bound to cores would wait for the one that a capture thread runs on.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        model = core.read_model(str(path))
        unsigned = write_unsigned(openvino, model)
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise ModelFileError(
            f"model {path}: OpenVINO cannot load it: {_said(error):.300}; export the model with "
            "--ops portable, or take --backend onnxruntime"
        ) from None
    check_graph(
        path,
        manifest,
        _tensors(compiled.inputs, [spec.name for spec in manifest.inputs]),
        _tensors(compiled.outputs, [spec.name for spec in manifest.outputs]),
    )
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if taken != precision:
        raise InputError(
            f"--cpu-precision {precision}: OpenVINO would compute in {taken} here; take f32"
        )
    note = f"{unsigned} INT8 tensors as unsigned, since it rounds signed ones wrongly"
    return compiled, [note] if unsigned else []


def _check_precision(precision: CpuPrecision, capabilities: list[str]) -> None:
    """Refuse a precision that this processor has no instructions for."""
    flags = cpu_flags()
    if precision == "bf16" and is_x86() and flags is not None and not flags & _BFLOAT16_FLAGS:
        raise InputError(
            "--cpu-precision bf16: this processor computes no bfloat16 (it has neither AVX512_BF16 "
            "nor AMX) and would imitate it, slower than float32; take f32"
        )
    if _CAPABILITIES[precision] not in capabilities:
        raise InputError(
            f"--cpu-precision {precision}: OpenVINO computes no {precision} on this processor; "
            "take f32"
        )


def _tensors(ports: list[Any], names: list[str]) -> list[GraphTensor]:
    """Return inputs or outputs of a compiled model, by the name that the manifest knows."""
    tensors = []
    for port in ports:
        known = [name for name in names if name in port.get_names()]
        kind = port.get_element_type().get_type_name()
        sizes = (size.get_length() if size.is_static else -1 for size in port.get_partial_shape())
        name = known[0] if known else port.get_any_name()
        tensors.append(GraphTensor(name, _DTYPES.get(kind, kind), tuple(sizes)))
    return tensors


def _said(error: BaseException) -> str:
    """Return what OpenVINO says on one line, without the places in its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(said) or one_line(error)
