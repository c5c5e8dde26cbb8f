"""Large images judged in tiles: checkpoints give what the runtime gives of their exported file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from classes_network import CLASSES, ClassesNet, spec_of
from tiny_network import FIXED, tiny_manifest

from differseg import create_model
from differseg.averaged_predictor import averaged
from differseg.checkpoints import save_checkpoint
from differseg.evaluate import main
from differseg.export.exporter import export_onnx
from differseg.manifest import ClassSpec, OutputSpec
from differseg.models.inputs import input_specs
from differseg.models.spec import BINARY_CLASSES
from differseg.options import run_main
from differseg.predictors import DeployedPredictor, TorchPredictor
from differseg.runtime.tiled_segmenter import TiledSegmenter
from differseg.runtime.tiling_options import Tiles
from differseg.tiled_predictor import TiledPredictor

pytestmark = pytest.mark.usefixtures("one_thread")
LARGE_HW, SIZE_HW = (150, 210), (64, 96)


def frames() -> dict[str, np.ndarray]:
    """Smooth images, so that some of a network's answers are sure and others are not."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*LARGE_HW, 3), dtype=np.uint8)
    thermal = rng.integers(28800, 31200, LARGE_HW).astype(np.uint16)
    smooth = {"rgb": cv2.GaussianBlur(rgb, (0, 0), 6), "thermal": thermal}
    return {name: cv2.normalize(image, None, int(image.min()), int(image.max()), cv2.NORM_MINMAX)
            for name, image in smooth.items()}  # fmt: skip


def predictor_of(classes: tuple[ClassSpec, ...]) -> TorchPredictor:
    torch.manual_seed(3)
    network = ClassesNet(spec_of(classes))
    with torch.no_grad():
        network.last.weight *= 6
    return TorchPredictor(network, SIZE_HW, FIXED, torch.device("cpu"))


def exported(predictor: TorchPredictor, path: Path) -> Path:
    specs = tuple(input_specs(spec_of(predictor.classes), SIZE_HW, FIXED))
    planes = 1 if len(predictor.classes) == 2 else len(predictor.classes)
    manifest = tiny_manifest(
        model=predictor.name, inputs=specs, classes=predictor.classes,
        outputs=(OutputSpec("probability", "probability" if planes == 1 else "class_probability",
                            (1, planes, *SIZE_HW)),),
    )  # fmt: skip
    example = predictor.module.raw_inputs_example(SIZE_HW)
    export_onnx(predictor.module, example, path, manifest=manifest)
    return path


@pytest.mark.parametrize("whole_view", [False, True])
@pytest.mark.parametrize("classes", [BINARY_CLASSES, CLASSES], ids=["two", "four"])
def test_a_checkpoint_gives_what_the_runtime_gives(
    tmp_path: Path, classes: tuple[ClassSpec, ...], whole_view: bool
) -> None:
    predictor, tiles = predictor_of(classes), Tiles((64, 96), 16, whole_view)
    file = exported(predictor, tmp_path / "net.onnx")
    found = TiledPredictor(predictor, tiles).probability(frames())
    of_file = DeployedPredictor(file, tiles=tiles).probability(frames())
    with TiledSegmenter(file, overlap=16, whole_view=whole_view) as segmenter:
        result = segmenter(**frames())
        assert segmenter.passes > 1
    assert found.shape[-2:] == of_file.shape[-2:] == LARGE_HW
    if len(classes) == 2:
        assert np.abs(found - result.probability).max() < 1e-5
        assert np.array_equal(of_file, result.probability)
        return
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    ids = np.array([spec.id for spec in classes])
    assert np.array_equal(ids[of_file.argmax(0)], result.mask)
    assert set(np.unique(of_file)) == {0, 1}
    assert np.mean(ids[found.argmax(0)] != result.mask) < 1e-3
    assert len(np.unique(result.mask)) > 1


def test_an_image_in_one_tile_is_that_of_no_tiles() -> None:
    predictor = predictor_of(BINARY_CLASSES)
    whole = TiledPredictor(predictor, Tiles((600, 600))).probability(frames())
    alone = cv2.resize(predictor.probability(frames()), LARGE_HW[::-1])
    assert np.abs(whole - alone).max() < 1e-6


def test_mirror_images_of_tiles_keep_the_size_of_the_image() -> None:
    tiled = TiledPredictor(predictor_of(BINARY_CLASSES), Tiles(SIZE_HW, 16, False))
    found = averaged(tiled, (), flip=True).probability(frames())
    mirrored = {name: np.ascontiguousarray(image[:, ::-1]) for name, image in frames().items()}
    wanted = (tiled.probability(frames()) + tiled.probability(mirrored)[:, ::-1]) / 2
    assert found.shape == LARGE_HW
    assert np.allclose(found, wanted, atol=1e-6)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    label = np.zeros(LARGE_HW, np.uint8)
    label[20:90, 30:140] = 1
    for name, image in {**frames(), "labels": label}.items():
        (root / name).mkdir(parents=True)
        cv2.imwrite(str(root / name / "a.png"), image)
    return root


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_checkpoint(tmp_path / "random.safetensors", create_model("differseg-edge"))
    return tmp_path / "random.safetensors"


def test_the_command_says_how_it_took_the_images(
    tmp_path: Path, checkpoint: Path, labelled: Path
) -> None:
    words = [str(checkpoint), "--data", str(labelled), "--size", "64x96", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    tiles = ["--tile", "64x96", "--overlap", "24", "--no-whole-view"]
    assert main([*words, *tiles, "--out", str(tmp_path / "tiles")]) == 0
    whole, tiled = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "tiles")
    )
    assert whole["tiles"] is None
    assert tiled["tiles"] == {"tile_hw": [64, 96], "overlap": 24.0, "whole_view": False}
    assert whole["metrics"] != tiled["metrics"]
    report = (tmp_path / "tiles" / "report.html").read_text()
    assert "64x96, overlap 24, tiles alone" in report
    assert "overlap" not in (tmp_path / "whole" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlap", "8"], "--overlap is about tiles: add --tile HxW"),
        (["--no-whole-view"], "--no-whole-view is about tiles"),
        (["--tile", "64x96", "--overlap", "60"], "overlap"),
        (["--tile", "64x96", "--scale", "0.5"], "--scale and --tile exclude each other"),
    ],
)
def test_options_of_tiles_that_cannot_be(
    checkpoint: Path, labelled: Path, words: list[str], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = [str(checkpoint), "--data", str(labelled), "--size", "64x96", "--device", "cpu"]
    assert run_main(main, [*given, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
