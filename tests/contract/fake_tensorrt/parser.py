"""``OnnxParser`` and ``ParserError``: an ONNX file becomes a network, or a list of reasons.

Sources: ``pyOnnx.cpp``; ``NvOnnxParser.h``; onnx/onnx-tensorrt ``ModelImporter.cpp`` (how a node
is resolved: built-in, model-local function, plugin; tensorrt.md section 3.2) and
``docs/operators.md`` (operators that no release imports; see also ``export/targets.py`` for the
full table, which the lint tests; here only what must fail).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from contract.fake_tensorrt.values import data_type
from contract.pybind import made, takes
from onnx import shape_inference

NEVER_IMPORTED = {"DFT", "Col2Im", "Unique", "Compress", "MaxUnpool", "BitwiseAnd", "AffineGrid"}


class OnnxParser:
    """State: ``_network``, ``_logger``, ``_errors``, ``_bits`` (flags), ``_libraries``."""

    @takes("INetworkDefinition", "ILogger")
    def _init(self, network: Any, logger: Any) -> None:
        self._network, self._logger = network, logger
        self._errors: list[Any] = []
        self._bits = 0 if self._world.major < 10 else 1  # NATIVE_INSTANCENORM is on since 10.0

    def _fail(self, code: str, text: str, node: int = -1, proto: Any = None) -> bool:
        classes = self._world.classes
        self._errors.append(
            made(
                classes["ParserError"],
                code=classes["ErrorCode"].__members__[code],
                desc=text,
                node=node,
                node_name=proto.name if proto else "",
                node_operator=proto.op_type if proto else "",
            )
        )
        self._world.log(self._logger, "ERROR", f"ModelImporter.cpp: {text}")
        return False

    @takes("buffer", "str?")
    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            proto = onnx.load_model_from_string(model)
            if not proto.graph.node:
                raise ValueError("no nodes")
            if path is not None:
                onnx.load_external_data_for_model(proto, str(Path(path).parent))
        except Exception as problem:
            return self._fail(
                "MODEL_DESERIALIZE_FAILED", f"Failed to parse the ONNX model: {problem}"
            )
        return self._import(proto)

    @takes("str")
    def parse_from_file(self, model: str) -> bool:
        try:
            proto = onnx.load(model)
            if not proto.graph.node:
                raise ValueError("no nodes")
        except Exception as problem:
            return self._fail("MODEL_DESERIALIZE_FAILED", f"Could not open file {model}: {problem}")
        return self._import(proto)

    def _import(self, model: onnx.ModelProto) -> bool:
        world = self._world
        if world.major < 10 and self._network.has_implicit_batch_dimension:
            return self._fail(
                "INVALID_VALUE",
                "This version of the ONNX parser only supports TensorRT INetworkDefinitions with "
                "an explicit batch dimension. Please ensure the network was created using the "
                "EXPLICIT_BATCH NetworkDefinitionCreationFlag.",
            )
        problems = [self._judge(i, node, model) for i, node in enumerate(model.graph.node)]
        initial = {entry.name for entry in model.graph.initializer}
        for value in [*model.graph.input, *model.graph.output]:
            elem = value.type.tensor_type.elem_type
            if value.name not in initial and data_type(elem, world.generation.int64_io) is None:
                problems.append(
                    self._fail(
                        "UNSUPPORTED_NODE", f"{value.name}: element type {elem} is not supported"
                    )
                )
            elif elem == onnx.TensorProto.INT64 and not world.generation.int64_io:
                world.log(
                    self._logger,
                    "WARNING",
                    "Your ONNX model has been generated with INT64 weights, while TensorRT does "
                    "not natively support INT64. Attempting to cast down to INT32.",
                )
        if False in problems:
            return False
        self._network._fill(_typed(model))
        return True

    def _judge(self, index: int, node: Any, model: onnx.ModelProto) -> bool:
        world = self._world
        if node.domain in ("", "ai.onnx"):
            if node.op_type in NEVER_IMPORTED:
                return self._fail(
                    "UNSUPPORTED_NODE",
                    f"No importer registered for op: {node.op_type}",
                    index,
                    node,
                )
            return self._judge_scales(index, node, model)
        functions = {f.name for f in model.functions if f.domain == node.domain}
        texts = {
            a.name: a.s.decode() for a in node.attribute if a.type == onnx.AttributeProto.STRING
        }
        version = texts.get("plugin_version", "1")
        spaces = [texts.get("plugin_namespace", "")]
        if world.generation.numbers >= (10, 10) and "plugin_namespace" not in texts:
            spaces.append(node.domain)
        plugin = any((node.op_type, version, space) in world.creators for space in spaces)
        function = node.op_type in functions and world.generation.functions != "ignored"
        named = world.generation.functions == "plugin if named" and "plugin_namespace" in texts
        if plugin or function:
            winner = "plugin" if plugin and (named or not function) else "function"
            world.resolved[node.name] = winner
            return True
        return self._fail(
            "INVALID_NODE" if world.major < 10 else "UNSUPPORTED_NODE",
            "Plugin not found, are the plugin name, version, and namespace correct? "
            f"{node.op_type} version {version} namespace {spaces[0]!r}",
            index,
            node,
        )

    def _judge_scales(self, index: int, node: Any, model: onnx.ModelProto) -> bool:
        """What the importer of QuantizeLinear and DequantizeLinear refuses (tensorrt.md, INT8)."""
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            return True
        known = {entry.name: entry for entry in model.graph.initializer}
        old = self._world.major < 10
        zero = known.get(node.input[2]) if len(node.input) > 2 else None
        problem = ""
        if old and len(node.input) < 3:
            problem = "needs an explicit zero-point"
        elif old and zero is not None and zero.data_type == onnx.TensorProto.UINT8:
            problem = "only INT8 is supported"
        elif old and (scale := known.get(node.input[1])) and scale.data_type != 1:
            problem = "the scale must be FP32"
        elif zero is not None and onnx.numpy_helper.to_array(zero).any():
            problem = "only a zero-point of zero is supported"
        if problem:
            return self._fail("INVALID_NODE", f"{node.op_type}: {problem}", index, node)
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    @takes("int")
    def get_error(self, index: int) -> Any:
        return self._errors[index] if 0 <= index < len(self._errors) else None

    def clear_errors(self) -> None:
        self._errors.clear()

    @takes("OnnxParserFlag")
    def set_flag(self, flag: Any) -> None:
        self._bits |= 1 << int(flag)

    @takes("OnnxParserFlag")
    def clear_flag(self, flag: Any) -> None:
        self._bits &= ~(1 << int(flag))

    @takes("OnnxParserFlag")
    def get_flag(self, flag: Any) -> bool:
        return bool(self._bits >> int(flag) & 1)

    @property
    def flags(self) -> int:
        return self._bits

    @flags.setter
    @takes("size")
    def flags(self, value: int) -> None:
        self._bits = value

    @takes("str")
    def supports_operator(self, op_name: str) -> bool:
        return op_name not in NEVER_IMPORTED and onnx.defs.has(op_name)

    def get_used_vc_plugin_libraries(self) -> list[str]:
        return []


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the inferred type of every tensor, as far as inference gets."""
    return shape_inference.infer_shapes(model)


class ParserError:
    """One reason why a file was not imported."""

    def code(self) -> Any:
        return self._code

    def desc(self) -> str:
        return self._desc

    def node(self) -> int:
        return self._node

    def node_name(self) -> str:
        return self._node_name

    def node_operator(self) -> str:
        return self._node_operator

    def file(self) -> str:
        return "ModelImporter.cpp"

    def func(self) -> str:
        return "parseNode"

    def line(self) -> int:
        return 1

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0

    def __str__(self) -> str:
        return f"In node {self._node} ({self.func()}): {self._code.name}: {self._desc}"

    __repr__ = __str__
