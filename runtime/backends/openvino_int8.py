"""INT8 files in OpenVINO: signed numbers are written as unsigned ones with a zero point of 128.

OpenVINO 2026.4.1 rounds quantised numbers to whole units of the unquantised ones where a signed
quantiser stands behind, or before, a concatenation: a scale of 0.05 then has 13 steps instead of
256, in every instruction set, and without its low-precision passes it does not.  Unsigned numbers
with a zero point of 128 are the same numbers, are computed as fast, and are rounded rightly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SHIFT = 128.0


def write_unsigned(openvino: Any, model: Any) -> int:
    """Rewrite every signed quantiser of activations in place.

    A QuantizeLinear of ONNX is FakeQuantize to -128..127 and Convert to i8 in OpenVINO, a
    DequantizeLinear is Convert to f32, Subtract of the zero point, and Multiply by the scale.
    Quantisers that look otherwise stay as they are.

    Args:
        openvino: The package.
        model: An ``openvino.Model`` as it was read.

    Returns:
        How many were rewritten.
    """
    written = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize" or _is_constant(node.input_value(0)):
            continue
        cast = _only_consumer(node)
        if cast is None or _bounds(node) != (-_SHIFT, _SHIFT - 1) or not _casts_to(cast, "i8"):
            continue
        casts_back = [target.get_node() for target in cast.output(0).get_target_inputs()]
        if not all(_casts_to(back, "f32") and _has_no_zero_point(back) for back in casts_back):
            continue
        _rewrite(openvino.opset13, node, casts_back)
        written += 1
    return written


def _rewrite(ops: Any, quantise: Any, casts_back: list[Any]) -> None:
    """Let a quantiser give 0..255, and take 128 off behind it."""
    low, high = (ops.constant(np.float32(bound)) for bound in (0.0, 2 * _SHIFT - 1))
    ends = (quantise.input_value(index) for index in (0, 1, 2))
    unsigned = ops.convert(ops.fake_quantize(*ends, low, high, 256), "u8")
    for back in casts_back:
        back.input(0).replace_source_output(unsigned.output(0))
        for target in list(back.output(0).get_target_inputs()):
            user, shift = target.get_node(), ops.constant(np.float32(_SHIFT))
            if user.get_type_name() == "Subtract":
                user.input(1).replace_source_output(shift.output(0))
            else:
                target.replace_source_output(ops.subtract(back.output(0), shift).output(0))


def _only_consumer(node: Any) -> Any | None:
    """Return the node that alone reads another's output; None where there are more."""
    targets = list(node.output(0).get_target_inputs())
    return targets[0].get_node() if len(targets) == 1 else None


def _casts_to(node: Any, dtype: str) -> bool:
    if node.get_type_name() != "Convert":
        return False
    return bool(node.get_output_element_type(0).get_type_name() == dtype)


def _is_constant(value: Any) -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


def _bounds(quantise: Any) -> tuple[float, float] | None:
    """Return what a FakeQuantize gives at least and at most, one pair for the whole tensor."""
    nodes = [quantise.input_value(index).get_node() for index in (3, 4)]
    if any(node.get_type_name() != "Constant" or node.data.size != 1 for node in nodes):
        return None
    low, high = (float(node.data.reshape(-1)[0]) for node in nodes)
    return low, high


def _has_no_zero_point(back: Any) -> bool:
    """Say whether what is taken off behind a cast, where something is, is 0."""
    for target in back.output(0).get_target_inputs():
        user = target.get_node()
        if user.get_type_name() != "Subtract":
            continue
        zero_point = user.input_value(1).get_node()
        while zero_point.get_type_name() in ("Convert", "Reshape"):
            zero_point = zero_point.input_value(0).get_node()
        if zero_point.get_type_name() != "Constant" or np.any(zero_point.data):
            return False
    return True
