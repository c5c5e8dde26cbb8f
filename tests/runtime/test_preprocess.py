from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_network import FIXED, tiny_manifest

from differseg.errors import InputError
from differseg.manifest import InputSpec
from differseg.runtime.preprocess import (
    InputPreparer,
    check_image,
    map_depth,
    prepare_input,
    resize,
    resize_label,
)
from differseg.runtime.thermal import ThermalMapper

RGB, THERMAL = tiny_manifest((8, 12)).inputs


def depth_spec(**changes: object) -> InputSpec:
    return replace(THERMAL, name="depth", modality="depth", thermal_policy=None, **changes)  # type: ignore[arg-type]


def color_image(size_hw: tuple[int, int] = (8, 12)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def test_rgb_at_model_size_goes_through_untouched() -> None:
    image = color_image()
    prepared = prepare_input(RGB, image)
    assert prepared.shape == (1, 8, 12, 3)
    assert prepared.dtype == np.uint8
    assert np.array_equal(prepared[0], image)


@pytest.mark.parametrize("size_hw", [(8, 12), (16, 24), (5, 7)], ids=["same", "shrink", "grow"])
def test_bgr_frames_come_out_as_rgb(size_hw: tuple[int, int]) -> None:
    image = color_image(size_hw)
    from_bgr = prepare_input(RGB, image[..., ::-1].copy(), color_order="BGR")
    assert np.array_equal(from_bgr, prepare_input(RGB, image))


def test_shrinking_averages_areas() -> None:
    image = color_image((32, 48))
    blocks = image.reshape(8, 4, 12, 4, 3).astype(np.float64).mean(axis=(1, 3))
    assert np.abs(prepare_input(RGB, image)[0] - blocks).max() <= 0.51


def test_growing_is_bilinear_about_pixel_corners() -> None:
    ramp = np.arange(4, dtype=np.float32)[None].repeat(3, axis=0)
    grown = resize(ramp, (3, 8))
    expected = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    assert np.allclose(grown, expected[None], atol=1e-6)


def test_one_side_growing_is_bilinear_too() -> None:
    image = np.random.default_rng(0).random((9, 4)).astype(np.float32)
    resized = resize(image, (3, 4 * 3))
    # Bilinear takes the centre row of three, an area average would mix all three.
    assert np.allclose(resized[:, 1::3], image[1::3], atol=1e-6)


def test_labels_are_never_mixed() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (9, 13))
    assert set(np.unique(resize_label(mask, (6, 7)))) <= {0, 1, 255}
    doubled = resize_label(mask, (18, 26))
    assert np.array_equal(doubled[::2, ::2], mask)


def test_thermal_is_mapped_before_it_is_resized() -> None:
    image = np.full((16, 24), 30000, np.uint16)
    image[0, 0] = 65535  # a dead pixel: clipped to 1 first, so a 2x2 mean is 0.625
    prepared = prepare_input(THERMAL, image)
    assert prepared.shape == (1, 1, 8, 12)
    assert prepared.dtype == np.float32
    assert prepared[0, 0, 0, 0] == pytest.approx(0.5 * 0.75 + 0.25)
    assert np.allclose(prepared[0, 0, 1:], 0.5)


def test_a_given_mapper_remembers_between_calls() -> None:
    policy = replace(FIXED, kind="percentile")
    spec = replace(THERMAL, thermal_policy=policy)
    mapper = ThermalMapper(policy)
    rng = np.random.default_rng(0)
    first = rng.integers(29000, 30000, (128, 192)).astype(np.uint16)
    prepare_input(spec, first, mapper=mapper, timestamp_s=0.0)
    later = first + np.uint16(3000)
    steady = prepare_input(spec, later, mapper=mapper, timestamp_s=0.05)
    assert (steady[0, 0] == 1).mean() > 0.9
    assert (prepare_input(spec, later)[0, 0] == 1).mean() < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_other_layouts_and_dtypes_of_rgb(dtype: str, layout: str) -> None:
    shape = (1, 8, 12, 3) if layout == "NHWC" else (1, 3, 8, 12)
    spec = replace(RGB, dtype=dtype, layout=layout, shape=shape, value_range=(0.0, 1.0))
    image = color_image()
    prepared = prepare_input(spec, image[..., ::-1], color_order="BGR")
    assert prepared.shape == shape
    assert prepared.dtype == dtype
    planes = prepared[0] if layout == "NHWC" else prepared[0].transpose(1, 2, 0)
    assert np.abs(planes.astype(np.float64) - image / 255).max() < 1e-3


def test_float16_thermal() -> None:
    spec = replace(THERMAL, dtype="float16")
    image = np.random.default_rng(0).integers(29000, 31000, (20, 30)).astype(np.uint16)
    full = prepare_input(THERMAL, image)
    half = prepare_input(spec, image)
    assert half.dtype == np.float16
    assert np.abs(half.astype(np.float32) - full).max() < 1e-3


def test_depth_rules() -> None:
    assert map_depth(np.array([[0, 51, 255]], np.uint8)).tolist() == [[0.0, pytest.approx(0.2), 1]]
    ramp = np.arange(1, 10001, dtype=np.uint16).reshape(100, 100)
    ramp[0, :50] = 0  # no measurement
    mapped = map_depth(ramp)
    assert (mapped[0, :50] == 0).all()
    valid = ramp > 0
    low, high = np.percentile(ramp[valid], [1, 99])
    expected = np.clip((ramp[valid] - low) / (high - low), 0, 1)
    assert np.abs(mapped[valid] - expected).max() < 1e-3
    floats = np.random.default_rng(0).random((8, 12))
    assert np.allclose(prepare_input(depth_spec(), floats)[0, 0], floats, atol=1e-7)


def test_depth_in_metres_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.\.1, got 0\.5\.\.4"):
        prepare_input(depth_spec(), np.array([[0.5, 4.0]]))


def test_a_dynamic_size_must_be_given() -> None:
    spec = replace(RGB, shape=(1, -1, -1, 3))
    with pytest.raises(InputError, match="size_hw"):
        InputPreparer(spec)
    assert prepare_input(spec, color_image(), size_hw=(4, 6)).shape == (1, 4, 6, 3)


def test_buffers_are_kept() -> None:
    preparer = InputPreparer(THERMAL)
    out = np.empty(preparer.shape, np.float32)
    image = np.full((20, 30), 30000, np.uint16)
    assert preparer.prepare(image, out=out) is out
    mapped = preparer._mapped
    preparer.prepare(image, out=out)
    assert preparer._mapped is mapped
    assert preparer.prepare(np.full((5, 9), 29500, np.uint16), out=out) is out
    assert np.allclose(out, 0.25)


def test_the_same_image_gives_the_same_bits() -> None:
    image = np.random.default_rng(0).integers(20000, 40000, (37, 53)).astype(np.uint16)
    spec = replace(THERMAL, thermal_policy=replace(FIXED, kind="percentile"))
    assert np.array_equal(prepare_input(spec, image), prepare_input(spec, image.copy()))


NAN = np.full((8, 12, 3), 0.5, np.float32)
NAN[2, 3, 1] = np.nan


@pytest.mark.parametrize(
    ("modality", "image", "said"),
    [
        ("rgb", NAN, "1 of 288 values are NaN or infinite"),
        ("thermal", np.full((4, 5), np.inf), "20 of 20 values are NaN or infinite"),
        ("depth", np.full((4, 5), np.nan), "20 of 20 values are NaN or infinite"),
        ("rgb", np.zeros((8, 12, 3), np.float32), "(H, W, 3) uint8, got (8, 12, 3) float32"),
        ("rgb", np.zeros((8, 12), np.uint8), "got (8, 12) uint8"),
        ("rgb", np.zeros((8, 12, 4), np.uint8), "got (8, 12, 4) uint8"),
        ("rgb", np.zeros((1, 8, 12, 3), np.uint8), "got (1, 8, 12, 3) uint8"),
        ("rgb", np.zeros((0, 12, 3), np.uint8), "empty"),
        ("rgb", "frame.png", "got str"),
        ("thermal", np.zeros((8, 12, 3), np.uint8), "image[:, :, 0]"),
        ("thermal", np.zeros((8, 12), np.int32), "uint8 or uint16, got (8, 12) int32"),
        ("depth", np.zeros((8, 12), np.int16), "got (8, 12) int16"),
        ("flow", np.zeros((8, 12, 2), np.float32), "got (8, 12, 2) float32"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(modality: str, image: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_image(modality, image)
    text = str(caught.value)
    assert text.startswith(f"{modality}: ")
    assert said in text
    assert "\n" not in text


def test_a_wrong_out_is_refused() -> None:
    with pytest.raises(InputError, match="out is float64"):
        prepare_input(THERMAL, np.zeros((8, 12), np.uint16), out=np.empty((1, 1, 8, 12)))


def test_a_wrong_color_order_is_refused() -> None:
    with pytest.raises(InputError, match="RGB or BGR"):
        prepare_input(RGB, color_image(), color_order="rgb")  # type: ignore[arg-type]
