"""Segmenting with more than two classes: the most probable one at the frame's size."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_network import (
    CLASSES,
    tiny_class_probability,
    tiny_classes_manifest,
    tiny_classes_onnx,
    write_model,
)

from differseg.errors import CheckFailedError, InputError
from differseg.manifest import ClassSpec, ThermalPolicy
from differseg.runtime import Segmenter

IDS = np.array([spec.id for spec in CLASSES], np.uint8)


def frames(size_hw: tuple[int, int] = (16, 24), seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "rgb": rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8),
        "thermal": rng.integers(28800, 31200, size_hw).astype(np.uint16),
    }


def test_mask_probability_and_coverage_at_model_size(classes_model: Path) -> None:
    given = frames()
    expected = tiny_class_probability(**given)
    winners = expected.argmax(axis=0)
    with Segmenter(classes_model, threads=1) as segmenter:
        result = segmenter(**given)
    assert result.probability.dtype == np.float32
    assert result.probability.shape == (3, 16, 24)
    assert np.abs(result.probability - expected).max() < 1e-6
    assert np.array_equal(result.mask, IDS[winners])
    parts = [float((winners == index).mean()) for index in range(3)]
    assert list(result.class_coverage) == ["nothing", "person", "car"]
    assert list(result.class_coverage.values()) == pytest.approx(parts, abs=1e-7)
    assert min(parts) > 0.05
    assert result.coverage == pytest.approx(1 - parts[0], abs=1e-7)
    kept = result.copy()
    assert not np.shares_memory(kept.probability, result.probability)
    assert kept.class_coverage is not result.class_coverage


@pytest.mark.parametrize("size_hw", [(32, 48), (31, 47), (480, 640), (8, 12), (1, 1)])
def test_the_probabilities_are_resized_and_then_compared(
    classes_model: Path, size_hw: tuple[int, int]
) -> None:
    given = frames(size_hw)
    with Segmenter(classes_model, threads=1) as segmenter:
        result = segmenter(**given)
    method = cv2.INTER_AREA if size_hw[0] <= 16 else cv2.INTER_LINEAR
    planes = np.stack(
        [cv2.resize(plane, size_hw[::-1], interpolation=method) for plane in result.probability]
    )
    assert result.mask.shape == size_hw
    assert np.array_equal(result.mask, IDS[planes.argmax(axis=0)])


def test_the_first_of_equally_probable_classes_wins(tmp_path: Path) -> None:
    model = tiny_classes_onnx()
    for tensor in model.graph.initializer:
        tensor.raw_data = np.zeros(int(np.prod(tensor.dims)), np.float32).tobytes()
    path = write_model(tmp_path / "equal.onnx", model, tiny_classes_manifest())
    with Segmenter(path, threads=1) as segmenter:
        result = segmenter(**frames())
    assert np.all(result.mask == CLASSES[0].id)
    assert result.class_coverage == {"nothing": 1.0, "person": 0.0, "car": 0.0}
    assert result.coverage == 0.0


def test_without_a_background_every_pixel_is_covered(tmp_path: Path) -> None:
    classes = (ClassSpec(0, "wall", (120, 120, 120)), *CLASSES[1:])
    manifest = tiny_classes_manifest(classes=classes)
    path = write_model(tmp_path / "indoor.onnx", tiny_classes_onnx(), manifest)
    with Segmenter(path, threads=1) as segmenter:
        assert segmenter(**frames()).coverage == 1.0


def test_half_precision_output_gives_the_same_mask(tmp_path: Path) -> None:
    model = tiny_classes_onnx()
    node = next(node for node in model.graph.node if node.op_type == "Softmax")
    node.output[0] = "full"
    cast = helper.make_node("Cast", ["full"], ["class_probability"], to=TensorProto.FLOAT16)
    model.graph.node.append(cast)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model)
    manifest = tiny_classes_manifest()
    outputs = (replace(manifest.outputs[0], dtype="float16"),)
    path = write_model(tmp_path / "half.onnx", model, replace(manifest, outputs=outputs))
    given = frames()
    with Segmenter(path, threads=1) as segmenter:
        result = segmenter(**given)
    expected = tiny_class_probability(**given)
    best = np.sort(expected, axis=0)
    clear = best[-1] - best[-2] > 0.01
    assert result.probability.dtype == np.float32
    assert clear.mean() > 0.9
    assert np.array_equal(result.mask[clear], IDS[expected.argmax(axis=0)][clear])


def test_a_threshold_is_refused_in_one_line(classes_model: Path) -> None:
    with pytest.raises(InputError) as caught:
        Segmenter(classes_model, threads=1, threshold=0.3)
    assert str(caught.value) == (
        "threshold: tiny has 3 classes and takes the most probable one at every pixel; leave the "
        "threshold out"
    )


def test_nan_in_any_class_is_a_failed_check(tmp_path: Path) -> None:
    model = tiny_classes_onnx()
    weights = np.array([0.5, 3.0, np.nan], np.float32)
    model.graph.initializer[1].raw_data = weights.tobytes()
    path = write_model(tmp_path / "nan.onnx", model, tiny_classes_manifest())
    with Segmenter(path, threads=1) as segmenter, pytest.raises(CheckFailedError, match="NaN"):
        segmenter(**frames())


def test_no_memory_per_frame(tmp_path: Path) -> None:
    size_hw = (240, 320)
    rgb, thermal = tiny_classes_manifest(size_hw).inputs
    inputs = (rgb, replace(thermal, thermal_policy=ThermalPolicy()))
    manifest = tiny_classes_manifest(size_hw, inputs=inputs)
    path = write_model(tmp_path / "larger.onnx", tiny_classes_onnx(size_hw), manifest)
    rgb_frame = frames((480, 640))["rgb"]
    given = {"rgb": rgb_frame, "thermal": frames(size_hw)["thermal"]}
    with Segmenter(path, threads=1, color_order="BGR") as segmenter:
        tracemalloc.start()
        for index in range(60):  # also fills the interpreter's own free lists
            segmenter(**given, timestamp_s=index / 30)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for index in range(60, 120):
            segmenter(**given, timestamp_s=index / 30)
        after, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 50_000
    # Less than one plane of the model's size in uint8, 77 kB.
    assert peak - before < 70_000
