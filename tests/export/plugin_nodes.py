"""The six plugin nodes by hand, with the shapes that they must make, and graphs around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto, helper

HAAR = [0.70710677, 0.70710677], [-0.70710677, 0.70710677]
DB2 = (
    [-0.12940952, 0.22414386, 0.8365163, 0.4829629],
    [-0.4829629, 0.8365163, -0.22414386, -0.12940952],
)


@dataclass(frozen=True)
class Node:
    """One plugin node: ``inputs`` and ``output`` are shapes without the batch."""

    op: str
    inputs: tuple[tuple[Any, ...], ...]
    output: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def but(self, **changed: Any) -> Node:
        """Return the node with other attributes; None removes one."""
        kept = {k: v for k, v in (self.attributes | changed).items() if v is not None}
        return Node(self.op, self.inputs, self.output, kept)

    def taking(self, *inputs: tuple[Any, ...]) -> Node:
        """Return the node with inputs of other shapes."""
        return Node(self.op, inputs, self.output, self.attributes)


def _bank(filters: tuple[list[float], list[float]], mode: str, **more: int) -> dict[str, Any]:
    return {"lowpass": filters[0], "highpass": filters[1], "mode": mode, **more}


NODES = {
    "rfft2": Node("DiffersegRfft2", ((3, 12, 10),), (3, 2, 12, 6), {"norm": "ortho"}),
    "rfft2-odd": Node("DiffersegRfft2", ((3, 13, 7),), (3, 2, 13, 4), {"norm": "backward"}),
    "irfft2": Node(
        "DiffersegIrfft2", ((3, 2, 12, 6),), (3, 12, 11), {"width": 11, "norm": "forward"}
    ),
    "dwt2": Node("DiffersegDwt2", ((3, 11, 14),), (3, 4, 7, 8), _bank(DB2, "symmetric")),
    "dwt2-periodization": Node(
        "DiffersegDwt2", ((3, 11, 14),), (3, 4, 6, 7), _bank(DB2, "periodization")
    ),
    "idwt2": Node(
        "DiffersegIdwt2", ((3, 4, 7, 8),), (3, 11, 14), _bank(DB2, "zero", height=11, width=14)
    ),
    "idwt2-periodization": Node(
        "DiffersegIdwt2", ((3, 4, 6, 7),), (3, 11, 14),
        _bank(HAAR, "periodization", height=11, width=14),
    ),
    "reassemble": Node(
        "DiffersegReassemble", ((8, 6, 5), (50, 12, 10)), (8, 12, 10),
        {"kernel_size": 5, "scale": 2, "dilation": 1, "groups": 2, "border": "zeros",
         "normalize": "softmax"},
    ),
    "reassemble-same-size": Node(
        "DiffersegReassemble", ((4, 6, 5), (9, 6, 5)), (4, 6, 5),
        {"kernel_size": 3, "scale": 1, "dilation": 3, "groups": 1, "border": "edge",
         "normalize": "hamming"},
    ),
    "local_similarity": Node(
        "DiffersegLocalSimilarity", ((5, 9, 7),), (24, 9, 7), {"kernel_size": 5, "dilation": 2}
    ),
}  # fmt: skip


def graph(
    node: Node,
    *,
    batch: int | str = 2,
    dtype: int = TensorProto.FLOAT,
    namespace: str | None = "differseg",
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    """Return Relu of each input -> the node -> Relu."""
    names = [f"x{i}" for i in range(len(node.inputs))]
    shapes = [[batch, *shape] for shape in node.inputs]
    marks = {} if namespace is None else {"plugin_version": "1", "plugin_namespace": namespace}
    own = helper.make_node(
        node.op, [f"{name}_in" for name in names], ["z"], name="net/own", domain="differseg",
        **node.attributes, **marks,
    )  # fmt: skip
    before = [helper.make_node("Relu", [name], [f"{name}_in"]) for name in names]
    proto = helper.make_graph(
        [*before, own, helper.make_node("Relu", ["z"], ["y"])],
        "plugin",
        [
            helper.make_tensor_value_info(n, dtype, list(s))
            for n, s in zip(names, shapes, strict=True)
        ],
        [helper.make_tensor_value_info("y", dtype, [batch, *node.output])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("differseg", 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=9, functions=list(functions))


def profiles(node: Node, largest: int = 4) -> dict[str, list[list[int]]]:
    """Return min, opt and max shapes of the inputs, every named axis from 1 (8 for sizes)."""
    shapes = {f"x{i}": ("n", *shape) for i, shape in enumerate(node.inputs)}
    least = {"n": (1, 2, largest)}
    return {
        name: [
            [least.get(e, (8, 16, 32))[which] if isinstance(e, str) else e for e in shape]
            for which in range(3)
        ]
        for name, shape in shapes.items()
    }
