"""Scales: each method on numbers whose scale is known, and tensors that have none."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import model_of, node

from differseg.calibration.scales import quantized_weight, tensor_scales
from differseg.errors import CheckFailedError, InputError


def scales_of(x, method, groups=(("y",),)):
    model = model_of([node("Relu", "x", "y"), node("Neg", "y", "n")], {}, x.shape)
    return tensor_scales(model, list(groups), [{"x": x}, {"x": x / 2}], method=method)


def outlier():
    """Numbers around 1, and one of 50 among 40,000."""
    x = np.abs(np.random.default_rng(0).normal(size=(1, 4, 100, 100))).astype(np.float32)
    x[0, 0, 0, 0] = 50
    return x


def test_min_max_keeps_the_largest_number():
    assert scales_of(outlier(), "min-max")["y"] == pytest.approx(50 / 127)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_the_others_leave_out_what_stands_alone(method):
    assert scales_of(outlier(), method)["y"] < 0.3 * 50 / 127


@pytest.mark.parametrize("method", ["min-max", "entropy", "percentile"])
def test_even_numbers_keep_nearly_all_of_their_range(method):
    x = np.random.default_rng(0).random((1, 4, 100, 100), np.float32)
    assert scales_of(x, method)["y"] == pytest.approx(1 / 127, rel=0.05)


@pytest.mark.parametrize("order", [(0, 0.01, 1, 30), (30, 1, 0.01, 0)])
def test_a_percentile_is_that_of_all_images_in_any_order(order):
    random = np.random.default_rng(0)
    images = [np.abs(random.normal(size=(1, 1, 300, 300)).astype(np.float32)) * s for s in order]
    model = model_of([node("Relu", "x", "y")], {}, (1, 1, 300, 300))
    scales = tensor_scales(model, [("y",)], [{"x": x} for x in images], method="percentile")
    expected = np.percentile(np.stack(images), 99.99) / 127
    assert scales["y"] == pytest.approx(expected, rel=2e-3)


def test_a_group_has_the_scale_of_its_largest():
    x = np.full((1, 1, 2, 2), 3, np.float32)
    assert scales_of(x, "min-max", [("y", "n", "x")]) == {
        name: pytest.approx(3 / 127) for name in ("y", "n", "x")
    }


def test_a_tensor_that_is_always_zero_is_named():
    with pytest.raises(CheckFailedError, match="tensor 'y' is zero on every image"):
        scales_of(np.full((1, 1, 2, 2), -1, np.float32), "percentile")


def test_a_tensor_with_nan_is_named():
    x = np.array([[[[np.nan, 1]]]], np.float32)
    with pytest.raises(CheckFailedError, match="tensor 'x' holds NaN"):
        scales_of(x, "min-max", [("x",)])


def test_an_unknown_method():
    with pytest.raises(InputError, match="expected one of min-max, entropy, percentile"):
        scales_of(outlier(), "mean")


def test_weights_have_a_scale_for_each_channel():
    weight = np.random.default_rng(0).normal(size=(3, 4, 3, 3)).astype(np.float32)
    weight *= np.array([1, 10, 100], np.float32).reshape(3, 1, 1, 1)
    codes, scale = quantized_weight(weight, 0)
    assert codes.dtype == np.int8
    assert scale.shape == (3,)
    assert np.abs(codes).reshape(3, -1).max(1).tolist() == [127, 127, 127]
    error = np.abs(codes * scale.reshape(3, 1, 1, 1) - weight)
    assert (error <= 0.501 * scale.reshape(3, 1, 1, 1)).all()


def test_one_scale_and_seven_bits_and_the_other_axis():
    weight = np.random.default_rng(0).normal(size=(3, 4, 2, 2)).astype(np.float32)
    codes, scale = quantized_weight(weight, None, reduce_range=True)
    assert scale.shape == ()
    assert np.abs(codes).max() == 63
    assert quantized_weight(weight, 1)[1].shape == (4,)


def test_codes_are_those_of_the_rounded_scale():
    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32) * 1e-3
    codes, scale = quantized_weight(weight, 0, dtype=np.float16)
    wide = scale.astype(np.float32).reshape(8, 1, 1, 1)
    assert (np.abs(codes * wide - weight) <= 1.1 * wide).all()


def test_a_channel_of_zeros_has_a_scale_above_zero():
    codes, scale = quantized_weight(np.zeros((2, 1, 1, 1), np.float32), 0, dtype=np.float16)
    assert (scale > 0).all()
    assert not codes.any()
