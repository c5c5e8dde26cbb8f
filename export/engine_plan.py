"""What a builder is told about one ONNX file, whichever way it is driven.

Releases differ in what may be said.  From TensorRT 10 on the graph is strongly typed: precision is
in the file, and nothing else is said.  TensorRT 8 has no such networks: the precisions that the
file holds are allowed by flags, and the nodes that the file computes in float32 are pinned to it by
name (NVIDIA/TensorRT, python/src/infer at the tags v8.5.3 to v11.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from differseg.engine_sidecar import HardwareCompatibility
from differseg.errors import InputError
from differseg.export.graph_view import GraphView
from differseg.export.profiles import choose_profiles
from differseg.export.targets import Version

TYPED_SINCE: Version = (10, 0)
"""The first release whose networks are strongly typed here."""
_CONVERSIONS = ("Cast", "QuantizeLinear", "DequantizeLinear")
_SINCE: dict[str, Version] = {
    "--level": (8, 6),
    "--version-compatible": (8, 6),
    "--hardware ampere+": (8, 6),
    "--hardware same_compute_capability": (10, 9),
    "--plugins-inside": (8, 6),
}


@dataclass(frozen=True)
class EngineSettings:
    """What a user may choose of a build.

    Attributes:
        fp16: Allow float16 in a float32 graph; only for TensorRT 8.
        tf32: Allow TF32, 10 bits of mantissa, in float32 products; TensorRT's own default.
        level: 0 (fast build) to 5 (fast engine); None is the builder's own, 3.
        workspace_mib: Most scratch memory; None takes what the GPU has.
        version_compatible: Newer releases may run the engine.
        hardware: Which other GPUs may run it.
        plugins: Plugin libraries, loaded before parsing.
        plugins_inside: Store them in the engine.
        shapes: Input name -> its shape, where the graph leaves it open.
    """

    fp16: bool = False
    tf32: bool = False
    level: int | None = None
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware: HardwareCompatibility = "none"
    plugins: tuple[Path, ...] = ()
    plugins_inside: bool = False
    shapes: Mapping[str, Sequence[int]] | None = None


@dataclass(frozen=True)
class EnginePlan:
    """What a builder is told.

    Attributes:
        strongly_typed: The network is made so.
        flags: ``FP16`` and ``INT8``, where the network is not.
        pins: Nodes that such a network keeps in float32.
        tf32: As :class:`EngineSettings`.
        profiles: Input name -> least, usual and largest shape.
        level, workspace_mib, version_compatible, hardware: As :class:`EngineSettings`.
        plugins: Paths of the plugin libraries.
        plugins_inside: As :class:`EngineSettings`.
    """

    strongly_typed: bool
    flags: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    tf32: bool = False
    profiles: Mapping[str, Sequence[Sequence[int]]] | None = None
    level: int | None = None
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware: HardwareCompatibility = "none"
    plugins: tuple[str, ...] = ()
    plugins_inside: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return the plan as JSON values, without what is left to the builder."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value not in (None, (), {})
        }


def plan_engine(model: onnx.ModelProto, version: Version, settings: EngineSettings) -> EnginePlan:
    """Decide what the builder of a release is told.

    Args:
        model: The graph, with shapes.
        version: Of TensorRT.
        settings: What the user chose.

    Raises:
        InputError: A choice that this release does not have, or a shape that does not fit.
    """
    _check_choices(version, settings)
    typed = version >= TYPED_SINCE
    half = _holds_half(model)
    if settings.fp16 and typed and not half:
        raise InputError(
            f"build: --fp16: TensorRT {version[0]} takes precision from the graph, and this one is "
            "float32: write a float16 one with 'differseg export --precision fp16', or an int8 one "
            "with 'differseg quantize'"
        )
    flags: list[str] = []
    if not typed:
        flags += ["FP16"] * (half or settings.fp16)
        flags += ["INT8"] * _is_quantised(model)
    pins = _pins(model, half) if "FP16" in flags else ()
    return EnginePlan(
        strongly_typed=typed,
        flags=tuple(flags),
        pins=pins,
        tf32=settings.tf32,
        profiles=choose_profiles(model, settings.shapes or {}),
        level=settings.level,
        workspace_mib=settings.workspace_mib,
        version_compatible=settings.version_compatible,
        hardware=settings.hardware,
        plugins=tuple(str(path.resolve()) for path in settings.plugins),
        plugins_inside=settings.plugins_inside,
    )


def _check_choices(version: Version, settings: EngineSettings) -> None:
    chosen = {
        "--level": settings.level is not None,
        "--version-compatible": settings.version_compatible,
        "--plugins-inside": settings.plugins_inside,
        f"--hardware {settings.hardware}": settings.hardware != "none",
    }
    for name, given in chosen.items():
        if given and version < _SINCE[name]:
            major, minor = _SINCE[name]
            raise InputError(
                f"build: {name}: from TensorRT {major}.{minor} on, this is {version[0]}."
                f"{version[1]}; leave it out"
            )
    if settings.level is not None and not 0 <= settings.level <= 5:
        raise InputError(f"build: --level: expected 0 to 5, got {settings.level}")
    if settings.workspace_mib is not None and settings.workspace_mib < 1:
        raise InputError(
            f"build: --workspace-mib: expected at least 1, got {settings.workspace_mib}"
        )
    if settings.plugins_inside and not settings.plugins:
        raise InputError("build: --plugins-inside: there is no plugin; add --plugin LIB.so")
    for path in settings.plugins:
        if not path.is_file():
            raise InputError(f"build: --plugin {path}: there is no such file")


def _holds_half(model: onnx.ModelProto) -> bool:
    half = onnx.TensorProto.FLOAT16
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return any(tensor.data_type == half for tensor in model.graph.initializer) or any(
        value.type.tensor_type.elem_type == half for value in values
    )


def _is_quantised(model: onnx.ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _pins(model: onnx.ModelProto, half: bool) -> tuple[str, ...]:
    """Return the nodes that stay in float32 where the builder may use float16.

    A typed graph says so itself.  Of a float32 one they are those that the rules of typed files
    name without having seen images, and every node of a frequency operator.
    """
    if half:
        view, full = GraphView.of(model), onnx.TensorProto.FLOAT
        return tuple(
            node.name
            for node in view.nodes
            if node.op_type not in _CONVERSIONS and view.dtypes.get(node.output[0]) == full
        )
    # Only here: a board that builds typed files has neither torch nor onnx_ir.
    import onnx_ir as ir

    from differseg.export.half_islands import find_islands
    from differseg.export.lowering.registry import operator_in

    graph = ir.from_proto(model)
    islands = find_islands(graph, {})
    return tuple(
        str(node.name)
        for node in graph.graph
        if node.name in islands or operator_in(str(node.name))
    )
