"""Several sizes and mirror images: the mean of what the model says of each."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from differseg import create_model
from differseg.averaged_predictor import averaged, scaled_size
from differseg.errors import InputError
from differseg.manifest import ThermalPolicy
from differseg.predictors import TorchPredictor

SIZE_HW = (64, 96)


@pytest.fixture(scope="module")
def predictor() -> TorchPredictor:
    torch.manual_seed(0)
    network = create_model("differseg-edge").eval()
    return TorchPredictor(network, SIZE_HW, ThermalPolicy(), torch.device("cpu"))


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    rgb = cv2.GaussianBlur(random.integers(0, 256, (80, 120, 3), np.uint8), (0, 0), 3)
    thermal = random.integers(29000, 31000, (80, 120)).astype(np.uint16)
    return {"rgb": rgb, "thermal": thermal}


def mirrored(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(image[:, ::-1]) for name, image in images.items()}


def test_nothing_asked_is_the_predictor_itself(predictor):
    assert averaged(predictor, (), flip=False) is predictor


def test_mirror_images_are_mirrored_back(predictor, images):
    found = averaged(predictor, (), flip=True).probability(images)
    plain, other = predictor.probability(images), predictor.probability(mirrored(images))
    assert np.abs(plain - other[:, ::-1]).max() > 1e-4  # or the test would show nothing
    assert np.allclose(found, (plain + other[:, ::-1]) / 2, atol=1e-7)
    again = averaged(predictor, (), flip=True).probability(mirrored(images))
    assert np.allclose(again[:, ::-1], found, atol=1e-6)


def test_sizes_are_averaged_at_the_first(predictor, images):
    both = averaged(predictor, (1.0, 2.0), flip=False)
    assert both.sizes_hw == (SIZE_HW, (128, 192))
    large = predictor.at((128, 192)).probability(images)
    shrunk = cv2.resize(large, SIZE_HW[::-1], interpolation=cv2.INTER_AREA)
    wanted = (predictor.probability(images) + shrunk) / 2
    assert np.allclose(both.probability(images), wanted, atol=1e-6)
    assert both.size_hw == SIZE_HW


def test_several_classes(images):
    torch.manual_seed(0)
    network = create_model("rgbt-fusion-edge").eval()
    one = TorchPredictor(network, SIZE_HW, ThermalPolicy(), torch.device("cpu"))
    found = averaged(one, (1.0, 2.0), flip=True).probability(images)
    assert found.shape == (9, *SIZE_HW)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)


def test_sizes_that_round_to_one_are_asked_once(predictor):
    assert scaled_size(SIZE_HW, 1.1, 32) == SIZE_HW
    assert averaged(predictor, (1.0, 1.1), flip=False).sizes_hw == (SIZE_HW,)
    assert scaled_size((480, 640), 1.25, 32) == (608, 800)
    assert scaled_size(SIZE_HW, 0.01, 32) == (32, 32)


@pytest.mark.parametrize("scale", [0.0, -1.0, 5.0, float("nan")])
def test_a_factor_out_of_range_is_refused(predictor, scale):
    with pytest.raises(InputError, match="expected factors above 0 and up to 4"):
        averaged(predictor, (1.0, scale), flip=False)


def test_a_file_has_one_size(predictor):
    class Deployed:
        name, size_hw = "deployed", SIZE_HW

    with pytest.raises(InputError, match="is a file of the one size 64x96; give a checkpoint"):
        averaged(Deployed(), (0.5,), flip=False)
