"""A network small enough to compute by hand, exported with a real manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from differseg.manifest import (
    METADATA_KEY,
    ClassSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    ThermalPolicy,
    WeightsRecord,
)

RGB_WEIGHTS = (0.6, 0.0, 0.15)
"""Of red, green and blue in 0..1: unequal, so that swapped channels show."""
THERMAL_WEIGHT = 0.25
FIXED = ThermalPolicy(kind="fixed", low_ck=29000, high_ck=31000)


def tiny_manifest(size_hw: tuple[int, int] = (16, 24), **changes: object) -> Manifest:
    height, width = size_hw
    manifest = Manifest(
        model="tiny",
        system="tiny",
        task="rgbt",
        inputs=(
            InputSpec(
                name="rgb",
                modality="rgb",
                shape=(1, height, width, 3),
                dtype="uint8",
                layout="NHWC",
                value_range=(0, 255),
                mean=(0, 0, 0),
                std=(1, 1, 1),
                color_order="RGB",
            ),
            InputSpec(
                name="thermal",
                modality="thermal",
                shape=(1, 1, height, width),
                dtype="float32",
                layout="NCHW",
                value_range=(0, 1),
                mean=(0,),
                std=(1,),
                thermal_policy=FIXED,
            ),
        ),
        outputs=(OutputSpec("probability", "probability", (1, 1, height, width)),),
        classes=(ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "object", (0, 200, 80))),
        threshold=0.5,
        weights=WeightsRecord("test"),
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]


def tiny_onnx(size_hw: tuple[int, int] = (16, 24), gain: float = 1.0) -> onnx.ModelProto:
    """probability = gain * (weighted rgb / 255 + weighted thermal)."""
    height, width = size_hw
    weights = np.array(RGB_WEIGHTS, np.float32).reshape(1, 3, 1, 1) / 255 * gain
    nodes = [
        helper.make_node("Cast", ["rgb"], ["rgb_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["rgb_float"], ["rgb_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["rgb_nchw", "rgb_weights"], ["from_rgb"]),
        helper.make_node("Mul", ["thermal", "thermal_weight"], ["from_thermal"]),
        helper.make_node("Add", ["from_rgb", "from_thermal"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("rgb", TensorProto.UINT8, (1, height, width, 3)),
            helper.make_tensor_value_info("thermal", TensorProto.FLOAT, (1, 1, height, width)),
        ],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, (1, 1, height, width))],
        [
            numpy_helper.from_array(weights, "rgb_weights"),
            numpy_helper.from_array(np.array(THERMAL_WEIGHT * gain, np.float32), "thermal_weight"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_model(path: Path, model: onnx.ModelProto, manifest: Manifest | str | None) -> Path:
    if manifest is not None:
        text = manifest if isinstance(manifest, str) else manifest.to_json()
        model.metadata_props.add(key=METADATA_KEY, value=text)
    onnx.save(model, path)
    return path


def tiny_probability(rgb: np.ndarray, thermal: np.ndarray) -> np.ndarray:
    """The network's output for frames of its own size, in float64: the oracle."""
    low, high = FIXED.low_ck, FIXED.high_ck
    unit = np.clip((thermal.astype(np.float64) - low) / (high - low), 0, 1)
    return (rgb.astype(np.float64) / 255) @ np.array(RGB_WEIGHTS) + THERMAL_WEIGHT * unit


CLASSES = (
    ClassSpec(0, "nothing", (0, 0, 0)),
    ClassSpec(4, "person", (255, 64, 32)),
    ClassSpec(9, "car", (40, 120, 255)),
)
"""Three classes whose ids are not their places."""
CLASS_RGB_WEIGHTS = ((2.0, 2.0, 0.0), (6.0, -2.0, 0.5), (-2.0, 3.0, 5.0))
"""Of red, green and blue in 0..1, for each class."""
CLASS_THERMAL_WEIGHTS = (0.5, 3.0, -2.0)


def fill_evenly(inputs: dict[str, np.ndarray], red: int, heat: float) -> None:
    """Fill the raw inputs with one colour (red, 7, 0) and one heat."""
    inputs["rgb"][:] = (red, 7, 0)
    inputs["thermal"][:] = heat


def tiny_even_probability(red: int, heat: float) -> float:
    """What the network gives for inputs filled by ``fill_evenly``."""
    return 0.6 * red / 255 + 0.25 * heat


def tiny_classes_manifest(size_hw: tuple[int, int] = (16, 24), **changes: object) -> Manifest:
    shape = (1, len(CLASSES), *size_hw)
    outputs = (OutputSpec("class_probability", "class_probability", shape),)
    return tiny_manifest(size_hw, **{"outputs": outputs, "classes": CLASSES, **changes})


def tiny_classes_onnx(size_hw: tuple[int, int] = (16, 24)) -> onnx.ModelProto:
    """class_probability = softmax(weighted rgb / 255 + weighted thermal), three classes."""
    height, width = size_hw
    count = len(CLASSES)
    of_rgb = np.array(CLASS_RGB_WEIGHTS, np.float32).reshape(count, 3, 1, 1) / 255
    of_thermal = np.array(CLASS_THERMAL_WEIGHTS, np.float32).reshape(1, count, 1, 1)
    nodes = [
        helper.make_node("Cast", ["rgb"], ["rgb_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["rgb_float"], ["rgb_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["rgb_nchw", "rgb_weights"], ["from_rgb"]),
        helper.make_node("Mul", ["thermal", "thermal_weights"], ["from_thermal"]),
        helper.make_node("Add", ["from_rgb", "from_thermal"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["class_probability"], axis=1),
    ]
    shape = (1, count, height, width)
    graph = helper.make_graph(
        nodes,
        "tiny_classes",
        [
            helper.make_tensor_value_info("rgb", TensorProto.UINT8, (1, height, width, 3)),
            helper.make_tensor_value_info("thermal", TensorProto.FLOAT, (1, 1, height, width)),
        ],
        [helper.make_tensor_value_info("class_probability", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(of_rgb, "rgb_weights"),
            numpy_helper.from_array(of_thermal, "thermal_weights"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tiny_class_probability(rgb: np.ndarray, thermal: np.ndarray) -> np.ndarray:
    """(K, H, W) float64 for frames of the network's own size: the oracle."""
    low, high = FIXED.low_ck, FIXED.high_ck
    unit = np.clip((thermal.astype(np.float64) - low) / (high - low), 0, 1)
    colors = rgb.astype(np.float64) / 255
    logits = np.stack(
        [
            colors @ np.array(of_rgb) + of_thermal * unit
            for of_rgb, of_thermal in zip(CLASS_RGB_WEIGHTS, CLASS_THERMAL_WEIGHTS, strict=True)
        ]
    )
    odds = np.exp(logits)
    return odds / odds.sum(axis=0)
