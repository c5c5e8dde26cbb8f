"""Files that give masks: what the runtime makes of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import tiny_classes_manifest

from differseg.errors import CheckFailedError, InputError
from differseg.export.masks import write_masks
from differseg.manifest import ClassSpec
from differseg.runtime.network_output import MaskOutput, as_probability, output_reader
from differseg.runtime.segmenter import Segmenter


@pytest.fixture(scope="module")
def masks_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masks(tiny_model, tmp_path_factory.mktemp("m") / "masks.onnx").path


@pytest.fixture(scope="module")
def class_masks_model(classes_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masks(classes_model, tmp_path_factory.mktemp("m") / "classes.onnx").path


def frames_of(size_hw: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Smooth frames, so that outlines are longer than a pixel."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(*size_hw, 4)).astype(np.float32), (0, 0), 5)
    noise /= np.abs(noise).max()
    return {
        "rgb": (127.5 + 127 * noise[..., :3]).astype(np.uint8),
        "thermal": (30_000 + 1000 * noise[..., 3]).astype(np.uint16),
    }


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_at_the_networks_size_the_masks_are_equal(
    tiny_model: Path, masks_model: Path, backend: str
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    frames = frames_of((16, 24))
    with Segmenter(tiny_model, backend) as plain, Segmenter(masks_model, backend) as decided:
        first, second = plain(**frames).copy(), decided(**frames)
        assert second.probability is None
        assert second.copy().probability is None
        assert np.array_equal(first.mask, second.mask)
        assert 0.05 < second.coverage < 0.95
        assert second.coverage == pytest.approx(first.coverage)
        assert second.class_coverage == pytest.approx(first.class_coverage)


def test_of_several_classes_too(classes_model: Path, class_masks_model: Path) -> None:
    rng = np.random.default_rng(0)
    frames = {
        "rgb": rng.integers(0, 256, (16, 24, 3), np.uint8),
        "thermal": rng.integers(29_000, 31_000, (16, 24), np.uint16),
    }
    with Segmenter(classes_model) as plain, Segmenter(class_masks_model) as decided:
        first, second = plain(**frames).copy(), decided(**frames)
    assert np.array_equal(first.mask, second.mask)
    assert len(np.unique(second.mask)) >= 2
    assert second.class_coverage == pytest.approx(first.class_coverage)


@pytest.mark.parametrize("size_hw", [(48, 72), (8, 12), (31, 50)])
def test_at_the_frames_size_it_is_the_nearest_pixel(
    masks_model: Path, tiny_model: Path, size_hw: tuple[int, int]
) -> None:
    frames = frames_of(size_hw)
    with Segmenter(tiny_model) as plain, Segmenter(masks_model) as decided:
        first, second = plain(**frames).copy(), decided(**frames)
    assert second.mask.shape == size_hw
    assert set(np.unique(second.mask)) <= {0, 1}
    assert np.mean(first.mask == second.mask) > 0.9  # outlines are a pixel of the network coarse


def test_nan_is_told(masks_model: Path) -> None:
    with Segmenter(masks_model) as segmenter:
        run = segmenter.backend.run

        def poisoned() -> None:
            segmenter.backend.inputs["thermal"][0, 0, 2, 3] = np.nan
            run()

        segmenter.backend.run = poisoned  # type: ignore[method-assign]
        with pytest.raises(CheckFailedError, match="NaN or infinity"):
            segmenter(**frames_of((16, 24)))


def test_a_threshold_comes_too_late(masks_model: Path) -> None:
    with pytest.raises(InputError, match="gives masks, decided in the graph"):
        Segmenter(masks_model, threshold=0.3)


def test_ids_are_the_manifests() -> None:
    places = np.array([[0, 1], [2, 2]], np.uint8)
    reader = MaskOutput(places, np.zeros((1, 1, 1, 1), np.float32), [7, 3, 254])
    mask = np.empty((2, 2), np.uint8)
    assert reader.fill(mask) == [0.25, 0.25, 0.5]
    assert mask.tolist() == [[7, 3], [254, 254]]
    assert places.tolist() == [[0, 1], [2, 2]]  # the engine's memory is not written


def test_masks_as_probabilities_are_0_and_1(class_masks_model: Path) -> None:
    with Segmenter(class_masks_model) as segmenter:
        segmenter(**frames_of((16, 24)))
        outputs, manifest = segmenter.backend.outputs, segmenter.manifest
        maps = as_probability(manifest, outputs)
        assert maps.shape == (1, 3, 16, 24)
        assert np.array_equal(maps.argmax(axis=1)[0], outputs["mask"][0, 0])
        assert np.array_equal(maps.sum(axis=1), np.ones((1, 16, 24)))
        outputs["mean"][:] = np.inf
        assert np.isnan(as_probability(manifest, outputs)).all()


def test_the_reader_is_chosen_by_the_manifest() -> None:
    manifest = tiny_classes_manifest()
    buffers = {manifest.outputs[0].name: np.zeros(manifest.outputs[0].shape, np.float32)}
    with pytest.raises(InputError, match="takes the most probable one"):
        output_reader(manifest, 0.5, buffers)
    assert isinstance(manifest.classes[0], ClassSpec)
    assert output_reader(manifest, None, buffers).probability is not None
