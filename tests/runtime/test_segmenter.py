from __future__ import annotations

import gc
import logging
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import tiny_manifest, tiny_onnx, tiny_probability, write_model

from differseg.errors import CheckFailedError, InputError, ModelFileError
from differseg.manifest import ClassSpec, OutputSpec, ThermalPolicy, WeightsRecord
from differseg.runtime import Segmenter


def frames(
    size_hw: tuple[int, int] = (16, 24), thermal_hw: tuple[int, int] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "rgb": rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8),
        "thermal": rng.integers(28800, 31200, thermal_hw or size_hw).astype(np.uint16),
    }


def test_mask_and_probability_at_model_size(tiny_model: Path) -> None:
    given = frames()
    expected = tiny_probability(**given)
    with Segmenter(tiny_model, threads=1) as segmenter:
        result = segmenter(**given)
    assert result.probability.dtype == np.float32
    assert np.abs(result.probability - expected).max() < 1e-6
    assert result.mask.dtype == np.uint8
    assert np.array_equal(result.mask, expected >= 0.5)
    assert 0.2 < result.coverage < 0.8
    assert result.coverage == pytest.approx(float((expected >= 0.5).mean()))
    assert [spec.name for spec in result.classes] == ["background", "object"]
    assert set(result.timings_ms) == {"prepare", "infer", "post"}
    assert all(0 < value < 5000 for value in result.timings_ms.values())


def test_bgr_frames_give_the_same(tiny_model: Path) -> None:
    given = frames()
    with Segmenter(tiny_model, threads=1, color_order="BGR") as segmenter:
        result = segmenter(rgb=given["rgb"][..., ::-1], thermal=given["thermal"])
    assert np.abs(result.probability - tiny_probability(**given)).max() < 1e-6


def test_the_mask_is_the_resized_probability_cut_at_the_threshold(tiny_model: Path) -> None:
    given = frames((32, 48))
    low_rgb = given["rgb"].reshape(16, 2, 24, 2, 3).mean(axis=(1, 3)).round()
    unit = np.clip((given["thermal"].astype(np.float64) - 29000) / 2000, 0, 1)
    low_unit = unit.reshape(16, 2, 24, 2).mean(axis=(1, 3))
    small = low_rgb / 255 @ (0.6, 0, 0.15) + 0.25 * low_unit
    grown = cv2.resize(small.astype(np.float32), (48, 32), interpolation=cv2.INTER_LINEAR)
    with Segmenter(tiny_model, threads=1) as segmenter:
        result = segmenter(**given)
    assert result.mask.shape == (32, 48)
    clear = np.abs(grown - 0.5) > 0.005  # OpenCV may round a uint8 mean by one
    assert clear.mean() > 0.9
    assert np.array_equal(result.mask[clear], grown[clear] >= 0.5)


def test_threshold_of_the_caller(tiny_model: Path) -> None:
    given = frames()
    with Segmenter(tiny_model, threads=1, threshold=0.3) as segmenter:
        assert np.array_equal(segmenter(**given).mask, tiny_probability(**given) >= 0.3)
    with pytest.raises(InputError, match=r"between 0 and 1, got 1\.0"):
        Segmenter(tiny_model, threshold=1.0)


def test_frames_may_change_size_and_be_odd(tiny_model: Path) -> None:
    with Segmenter(tiny_model, threads=1) as segmenter:
        for size_hw, thermal_hw in (
            ((16, 24), (16, 24)),
            ((31, 47), (13, 17)),
            ((1, 1), (1, 1)),
            ((480, 640), (120, 160)),
            ((16, 24), (16, 24)),
        ):
            given = frames(size_hw, thermal_hw)
            result = segmenter(**given)
            assert result.mask.shape == size_hw
            assert result.probability.shape == (16, 24)
        assert np.array_equal(result.mask, tiny_probability(**given) >= 0.5)


def test_results_share_buffers_until_copied(tiny_model: Path) -> None:
    with Segmenter(tiny_model, threads=1) as segmenter:
        first = segmenter(**frames(seed=1))
        kept = first.copy()
        second = segmenter(**frames(seed=2))
    assert second.mask is first.mask
    assert np.shares_memory(second.probability, first.probability)
    expected = tiny_probability(**frames(seed=1))
    assert np.abs(kept.probability - expected).max() < 1e-6
    assert np.array_equal(kept.mask, expected >= 0.5)
    assert not np.array_equal(kept.probability, second.probability)


def test_class_ids_come_from_the_manifest(tmp_path: Path) -> None:
    classes = (ClassSpec(7, "road", (0, 0, 0)), ClassSpec(3, "crack", (255, 0, 0)))
    path = write_model(tmp_path / "ids.onnx", tiny_onnx(), tiny_manifest(classes=classes))
    given = frames()
    with Segmenter(path, threads=1) as segmenter:
        result = segmenter(**given)
        assert np.array_equal(result.mask, np.where(tiny_probability(**given) >= 0.5, 3, 7))
        assert np.array_equal(segmenter(**given).mask, result.mask)


def test_modalities_too_few_too_many_or_unknown(tiny_model: Path) -> None:
    given = frames()
    with Segmenter(tiny_model, threads=1) as segmenter:
        for wrong, said in (
            ({"rgb": given["rgb"]}, "got rgb"),
            ({"thermal": given["thermal"]}, "got thermal"),
            ({"rgb": given["rgb"], "thermal": None}, "got rgb"),
            ({**given, "depth": given["thermal"]}, "got rgb and thermal and depth"),
            ({"rgb": given["rgb"], "termal": given["thermal"]}, "got rgb and termal"),
            ({}, "got nothing"),
        ):
            with pytest.raises(InputError) as caught:
                segmenter(**wrong)  # type: ignore[arg-type]
            assert str(caught.value) == f"tiny takes rgb and thermal, {said}"


def test_bad_frames_are_refused_and_good_ones_still_work(tiny_model: Path) -> None:
    given = frames()
    with_nan = np.full((16, 24), 30000.0)
    with_nan[3, 4] = np.nan
    with Segmenter(tiny_model, threads=1) as segmenter:
        for wrong, said in (
            ({"rgb": given["rgb"][..., :2]}, r"got \(16, 24, 2\) uint8"),
            ({"rgb": given["rgb"].astype(np.float32)}, "float32"),
            ({"thermal": with_nan}, "1 of 384 values are NaN"),
            ({"thermal": given["rgb"]}, "take one channel"),
        ):
            with pytest.raises(InputError, match=said):
                segmenter(**{**given, **wrong})
        assert np.array_equal(segmenter(**given).mask, tiny_probability(**given) >= 0.5)


def test_nan_from_the_network_is_a_failed_check(tmp_path: Path) -> None:
    model = tiny_onnx()
    model.graph.initializer[1].raw_data = np.array(np.nan, np.float32).tobytes()
    path = write_model(tmp_path / "nan.onnx", model, tiny_manifest())
    segmenter = Segmenter(path, "onnxruntime", threads=1)
    with segmenter, pytest.raises(CheckFailedError, match="NaN"):
        segmenter(**frames())


def test_random_weights_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = tiny_manifest(weights=WeightsRecord("random (seed 0)"))
    path = write_model(tmp_path / "random.onnx", tiny_onnx(), manifest)
    with caplog.at_level(logging.WARNING, "differseg.runtime"):
        segmenter = Segmenter(path, threads=1)
    assert len(caplog.records) == 1
    assert "never trained" in caplog.text
    assert len(segmenter.warnings) == 1


def test_warnings_of_frames_and_policy_are_collected_once(tiny_model: Path) -> None:
    with Segmenter(tiny_model, threads=1) as segmenter:
        assert segmenter.warnings == ()
        for _ in range(2):
            segmenter(rgb=frames()["rgb"], thermal=np.zeros((24, 16), np.uint8))
        aspect, policy = segmenter.warnings
    assert "rgb is 24x16 and thermal 16x24, another aspect" in aspect
    assert "8 bit" in policy


def test_time_stamps_smooth_the_thermal_range(tmp_path: Path) -> None:
    rgb, thermal = tiny_manifest().inputs
    thermal = replace(thermal, thermal_policy=ThermalPolicy(smoothing_s=1.0))
    path = write_model(tmp_path / "auto.onnx", tiny_onnx(), tiny_manifest(inputs=(rgb, thermal)))
    cold = frames()
    warm = {**cold, "thermal": cold["thermal"] + np.uint16(4000)}
    with Segmenter(path, threads=1) as segmenter:
        alone = segmenter(**cold).copy()
        assert np.array_equal(segmenter(**warm).probability, alone.probability)
        segmenter(**cold, timestamp_s=0.0)
        steady = segmenter(**warm, timestamp_s=0.03)
        assert steady.probability.mean() > alone.probability.mean() + 0.05
        segmenter.reset()
        fresh = segmenter(**warm, timestamp_s=0.06)
        assert np.array_equal(fresh.probability, alone.probability)


def test_an_output_that_does_not_fit_the_classes_is_refused(tmp_path: Path) -> None:
    three = (*tiny_manifest().classes, ClassSpec(2, "third", (1, 1, 1)))
    for name, outputs, classes in (
        ("two", (OutputSpec("probability", "class_probability", (1, 1, 16, 24)),), None),
        ("three", None, three),
        ("one-map", (OutputSpec("probability", "class_probability", (1, 1, 16, 24)),), three),
    ):
        given = {"outputs": outputs, "classes": classes}
        changes = {key: value for key, value in given.items() if value is not None}
        path = write_model(tmp_path / f"{name}.onnx", tiny_onnx(), tiny_manifest(**changes))
        with pytest.raises(
            ModelFileError, match=r"expected probability \[1, 1, H, W\] for 2"
        ) as got:
            Segmenter(path)
        assert f"for {len(classes or (0, 1))} classes" in str(got.value)


def test_warmup_needs_no_frames(tiny_model: Path) -> None:
    with Segmenter(tiny_model, threads=1) as segmenter:
        segmenter.warmup()
        assert segmenter.modalities == ("rgb", "thermal")


def test_no_memory_per_frame(tmp_path: Path) -> None:
    size_hw = (240, 320)
    rgb, thermal = tiny_manifest(size_hw).inputs
    manifest = tiny_manifest(
        size_hw, inputs=(rgb, replace(thermal, thermal_policy=ThermalPolicy()))
    )
    path = write_model(tmp_path / "larger.onnx", tiny_onnx(size_hw), manifest)
    given = frames((480, 640), (240, 320))
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
