from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from literal_layers import noise

from differseg.errors import InputError
from differseg.export import export_onnx
from differseg.models.deployment import lowered_for_export
from differseg.modules.high_pass_image import GreyHighPassImage, HighPassImage

SIZES = [(256, 256), (96, 320), (225, 256), (257, 231), (64, 64)]


def literal(x: np.ndarray, radius: float) -> np.ndarray:
    """The authors' steps in NumPy: shift, cut the disc out, transform back without shifting."""
    height, width = x.shape[-2:]
    u, v = np.mgrid[:height, :width]
    low = np.hypot(u - (height - 1) / 2, v - (width - 1) / 2) <= radius
    shifted = np.roll(np.fft.fft2(x), (height // 2, width // 2), axis=(-2, -1))
    return np.abs(np.fft.ifft2(np.where(low, 0, shifted))).mean(axis=1, keepdims=True)


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_equals_the_authors_steps_written_out(size_hw):
    x = noise(2, 3, *size_hw) + 1.5
    expected = torch.from_numpy(literal(x.numpy(), 100.0))
    torch.testing.assert_close(HighPassImage().double()(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(HighPassImage()(x.float()).double(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("radius", [1, 20.5, 100])
@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_products_for_export_equal_the_transform(size_hw, radius):
    module, x = HighPassImage(radius), noise(2, 3, *size_hw) + 1.5
    products = lowered_for_export(torch.nn.Sequential(module), size_hw)
    expected = module.double()(x)
    torch.testing.assert_close(products(x.float()).double(), expected, rtol=0, atol=6e-6)
    assert not any("fft" in name for name, _ in products.named_modules())


def test_disc_lies_half_a_bin_off_for_even_sides():
    """100 bins to the left of zero are removed, and 99 to its right."""
    n = torch.arange(400, dtype=torch.float64)
    for frequency, removed in ((99, 1.0), (100, 0.5), (101, 0.0)):
        wave = torch.cos(2 * torch.pi * frequency / 400 * n).expand(1, 3, 400, 400)
        left = HighPassImage().double()(wave)
        expected = torch.full_like(left, 0.5) if removed == 0.5 else wave[:, :1].abs()
        torch.testing.assert_close(left, expected * (removed < 1), rtol=0, atol=1e-12)


def test_small_images_have_nothing_above_the_disc():
    assert HighPassImage().double()(noise(1, 3, 128, 128)).max() < 1e-14


def test_the_radius_is_a_weight_that_nothing_trains():
    module = HighPassImage()
    assert module.state_dict()["radius"].tolist() == [100.0]
    assert not module.radius.requires_grad
    module.load_state_dict({"radius": torch.tensor([30.0])})
    x = noise(1, 3, 128, 160)
    products = module.for_export((128, 160))
    expected = torch.from_numpy(literal(x.numpy(), 30.0))
    torch.testing.assert_close(products(x.float()).double(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 66), (40, 51)], ids=str)
@pytest.mark.parametrize("cutoff", [0.1, 0.23])
def test_grey_image_is_what_is_left_of_a_centred_disc(size_hw, cutoff):
    x = noise(2, 3, *size_hw) + 1.5
    rows, columns = (np.fft.fftfreq(side) for side in size_hw)
    keep = np.hypot(rows[:, None], columns) > cutoff
    grey = x.numpy().mean(axis=1, keepdims=True)
    expected = torch.from_numpy(np.abs(np.fft.ifft2(np.fft.fft2(grey) * keep).real))
    module = GreyHighPassImage(cutoff)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-6)
    products = module.for_export(size_hw)
    torch.testing.assert_close(products(x.float()).double(), expected, rtol=0, atol=6e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x = (noise(1, 3, 64, 96) + 2).to(dtype)
    for module in (HighPassImage(8), GreyHighPassImage()):
        for form in (module, module.for_export((64, 96))):
            assert torch.equal(form(x), form(x.float()).to(dtype))


@pytest.mark.parametrize("module", [HighPassImage(20), GreyHighPassImage()], ids=["disc", "grey"])
def test_exported_products_in_onnx_runtime(module, tmp_path):
    x, path = noise(1, 3, 96, 128).float(), tmp_path / "f.onnx"
    export_onnx(lowered_for_export(torch.nn.Sequential(module), (96, 128)), {"x": x}, path)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("MatMul") == 4
    assert len(operators) <= 12, operators
    got = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(got, module(x).numpy(), atol=5e-6)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: HighPassImage(0.5), "radius: expected at least 1 bin, got 0.5"),
        (lambda: HighPassImage(float("nan")), "radius: expected at least 1 bin, got nan"),
        (lambda: GreyHighPassImage(0.5), "cutoff: expected 0..0.5 cycles per pixel, got 0.5"),
        (lambda: GreyHighPassImage(0), "cutoff: expected 0..0.5 cycles per pixel, got 0"),
    ],
)
def test_wrong_settings_are_named(build, text):
    with pytest.raises(InputError, match=text):
        build()


@pytest.mark.parametrize("module", [HighPassImage(5), GreyHighPassImage()])
def test_products_follow_the_type_of_the_image(module):
    x = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    products = module.for_export((32, 48))
    torch.testing.assert_close(products(x), module(x), atol=2e-6, rtol=0)
    assert products.half()(x.half()).isfinite().all()
