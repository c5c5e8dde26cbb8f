"""Parity of networks with more than two classes: figures by hand, planted faults, one export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from classes_network import CLASSES, NAME, SIZE_HW, classes_module, registered
from small_network import edited, failed
from test_report import Page

from differseg.cli import main as cli
from differseg.errors import InputError, ModelFileError
from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.parity import compare_deployment, parity
from differseg.export.parity_compare import LITTLE_SHOWN, Comparison
from differseg.export.parity_data import load_samples
from differseg.export.parity_result import ClassAgreement, ParityResult, Side, Thresholds
from differseg.export.report import render
from differseg.manifest import ClassSpec, Manifest, WeightsRecord
from differseg.models.deployment import DeploymentModule

__all__ = ["registered"]
pytestmark = pytest.mark.usefixtures("one_thread")

TIED_AT = 5e-7


def side(name: str) -> Side:
    return Side(name, "test", "net", 0.5, weights="a test", classes=CLASSES)


def compared(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    labels: list[np.ndarray] | None = None,
    thresholds: Thresholds | None = None,
) -> ParityResult:
    comparison = Comparison(side("a"), side("b"), thresholds or Thresholds(), keep_panels=2)
    for number, (maps_a, maps_b) in enumerate(pairs):
        pictures = {"rgb": np.arange(maps_a[0].size * 3, dtype=np.uint8).reshape(-1, 40, 3)}
        comparison.add(
            f"i{number}", maps_a[None], maps_b[None], labels[number] if labels else None, pictures
        )
    return comparison.finish("by hand")


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (CLASSES[::-1], r"a has class 0 \w+ \(3 \w+\) where b has"),
        (CLASSES[:3], r"a has 4 classes \(3\) where b has"),
    ],
)
def test_other_classes_cannot_be_compared(classes: tuple[ClassSpec, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Comparison(side("a"), replace(side("b"), classes=classes), Thresholds())


def maps_of(mask: np.ndarray, sure: float = 0.7) -> np.ndarray:
    """Return (4, H, W) float32 with this winner at every pixel."""
    maps = np.full((4, *mask.shape), (1 - sure) / 3, np.float32)
    np.put_along_axis(maps, mask[None].astype(np.intp), sure, 0)
    return maps


def scene(shift: int = 0) -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:25, 5 + shift : 25 + shift] = 1
    mask[28:36, 4:36] = 2
    return mask


def test_figures_by_hand() -> None:
    label = scene()
    result = compared([(maps_of(scene()), maps_of(scene(5)))], [label])
    image = result.images[0]
    assert image.flipped_pixels == 2 * 5 * 20
    assert image.max_error == pytest.approx(0.6)
    assert image.mean_error == pytest.approx(0.6 * 200 / 1600)
    nothing = 1600 - 400 - 256
    of_nothing, of_car = (nothing - 100) / (nothing + 100), 300 / 500
    assert image.mask_iou == pytest.approx((of_nothing + of_car + 1) / 3)
    assert 0.5 < image.boundary_f < 1
    assert image.foreground_a == pytest.approx(656 / 1600)
    assert (image.label_iou_a, image.label_iou_b) == (1.0, pytest.approx(image.mask_iou))
    assert result.classes == (
        ClassAgreement("unlabeled", pytest.approx(of_nothing), 1.0, pytest.approx(of_nothing)),
        ClassAgreement("car", pytest.approx(of_car), 1.0, pytest.approx(of_car)),
        ClassAgreement("person", 1.0, 1.0, 1.0),
        ClassAgreement("bike", None, None, None),
    )
    assert {"flipped pixels", "mask IoU", "boundary F", "label IoU drop"} <= failed(result)
    assert "threshold difference" not in {check.what for check in result.checks}
    assert (
        json.loads(json.dumps(result.to_plain(), allow_nan=False))["classes"][3]["name"] == "bike"
    )


def test_labels_keep_their_size_and_ignored_pixels() -> None:
    large = cv2.resize(scene(), (80, 80), interpolation=cv2.INTER_NEAREST)
    large[:, :52] = 255
    result = compared([(maps_of(scene()), maps_of(scene(5)))], [large])
    image = result.images[0]
    assert image.label_iou_a is not None
    assert image.label_iou_a > 0.97
    assert image.label_iou_b is not None
    assert image.label_iou_b < image.label_iou_a  # what moved into the last quarter


def drawn(at_b: float = TIED_AT, at_a: float = -TIED_AT) -> tuple[np.ndarray, np.ndarray]:
    """Two classes of equal probability at three pixels, a hair apart the one or the other way."""
    maps_a, maps_b = maps_of(scene()), maps_of(scene())
    for maps, nudge in ((maps_a, at_a), (maps_b, at_b)):
        maps[:, 0, :3] = np.array([0.05, 0.45, 0.45 + nudge, 0.05], np.float32)[:, None]
    return maps_a, maps_b


def test_a_draw_that_rounding_decides_is_reported_and_not_counted() -> None:
    result = compared([drawn()])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (0, 3)
    assert any("3 pixel(s) lie within 1e-06 of a draw of two classes" in w for w in result.warnings)


def test_a_draw_of_two_losing_classes_is_none() -> None:
    maps_a, maps_b = maps_of(scene()), maps_of(scene())
    maps_a[:, 0, 0], maps_b[:, 0, 0] = (0.6, 0.2, 0.2, 0), (0.2, 0.6, 0.2, 0)
    result = compared([(maps_a, maps_b)])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (1, 0)


@pytest.mark.parametrize("far", [{"at_a": -5e-6}, {"at_b": 5e-6}])
def test_no_tie_where_one_side_is_sure(far: dict[str, float]) -> None:
    result = compared([drawn(**far)])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (3, 0)


def test_nan_in_one_class_is_counted_and_flips() -> None:
    maps_a, maps_b = maps_of(scene()), maps_of(scene())
    maps_b[:, 10, 10] = np.nan
    result = compared([(maps_a, maps_b)])
    assert result.overall.nonfinite == 1
    assert result.overall.flipped_pixels == 1
    assert {"NaN or infinite values", "max error"} <= failed(result)


def test_masks_of_one_class_are_warned_about() -> None:
    one = maps_of(np.full((40, 40), 2, np.uint8))
    assert LITTLE_SHOWN in compared([(one, one)]).warnings
    assert LITTLE_SHOWN not in compared([(one, one), (maps_of(scene()),) * 2]).warnings


def test_another_number_of_maps_is_refused() -> None:
    comparison = Comparison(side("a"), side("b"), Thresholds())
    with pytest.raises(InputError, match=r"\(1, 4, H, W\), got \(1, 1, 8, 8\)"):
        comparison.add("x", np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 8)))


def test_the_report_names_the_classes() -> None:
    result = compared([(maps_of(scene()), maps_of(scene(5)))], [scene()])
    page = Page(render(result))
    assert "Every class" in page.text
    for words in ("person", "bike"):
        assert (words in page.text) == (words == "person")
    assert "A: test, 3 classes" in page.text
    assert "the most probable of 4 classes" in page.text
    assert "Flipped pixel: of another class on each side" in page.text
    assert "64,0,128" in render(result)  # the car's colour in the legend


@pytest.fixture(scope="module")
def module() -> DeploymentModule:
    return classes_module()


@pytest.fixture(scope="module")
def classes_file(module: DeploymentModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classes") / "classes.onnx"
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    example = module.raw_inputs_example(SIZE_HW)
    export_onnx(module, example, path, manifest=manifest, strip="model.", verify=False)
    return path


@pytest.fixture(scope="module")
def labelled(folder: Path) -> Path:
    """The folder of the parity tests; its labels hold four classes and ignored pixels."""
    for path in (folder / "labels").iterdir():
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) // 255
        label[:, 64:] *= 3
        label[:5] = 255
        cv2.imwrite(str(path), label)
    return folder


def test_the_file_equals_the_network(
    module: DeploymentModule, classes_file: Path, labelled: Path
) -> None:
    inputs = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test")).inputs
    samples = load_samples(inputs, labelled, None, classes=CLASSES)
    assert "labels by the rule auto: ids" in samples.description
    result = compare_deployment(module, classes_file, samples)
    assert result.passed
    assert result.warnings == ()
    assert result.overall.max_error < 1e-5
    assert all(found.mask_iou == 1.0 for found in result.classes if found.mask_iou is not None)
    assert sum(found.mask_iou is not None for found in result.classes) >= 3
    assert result.overall.label_iou_a == result.overall.label_iou_b
    assert result.overall.label_iou_a is not None
    assert result.overall.label_iou_a < 0.9


def test_a_planted_fault_fails(classes_file: Path, labelled: Path, tmp_path: Path) -> None:
    def swapped(tensors: dict[str, np.ndarray]) -> None:
        tensors["last.weight"] = tensors["last.weight"][[0, 2, 1, 3]].copy()
        tensors["last.bias"] = tensors["last.bias"][[0, 2, 1, 3]].copy()

    bad = edited(classes_file, tmp_path / "swapped.onnx", swapped)
    result = parity(classes_file, bad, labelled)
    assert {"max error", "flipped pixels", "mask IoU"} <= failed(result)


def test_other_ids_are_another_network(classes_file: Path, tmp_path: Path) -> None:
    def renumbered(found: Manifest) -> Manifest:
        classes = tuple(replace(spec, id=spec.id + 1) for spec in found.classes)
        return replace(found, classes=classes)

    other = edited(classes_file, tmp_path / "other.onnx", manifest=renumbered)
    with pytest.raises(InputError, match=r"has 4 classes .* or other ids") as caught:
        parity(classes_file, other)
    assert "\n" not in str(caught.value)


def test_a_manifest_with_other_classes_is_refused(classes_file: Path, tmp_path: Path) -> None:
    def longer(found: Manifest) -> Manifest:
        return replace(found, classes=(*found.classes, ClassSpec(8, "more", (1, 1, 1))))

    other = edited(classes_file, tmp_path / "five.onnx", manifest=longer)
    with pytest.raises(ModelFileError, match=r"class_probability \[1, 4, 64, 96\] for 5 classes"):
        parity(other, other)


def test_export_writes_a_file_that_passes_parity_on_scenes(
    registered: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    command = ["export", "--model", registered, "-o", str(path), "--limit", "1", "--no-real"]
    assert cli([*command, "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["manifest"]
    assert manifest["model"] == NAME
    assert manifest["outputs"][0]["kind"] == "class_probability"
    assert manifest["outputs"][0]["shape"] == [1, 4, *SIZE_HW]
    assert manifest["parity"]["max_error"] < 1e-5
    assert cli(["parity", str(path), str(path), "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "IoU of the classes" in out
    assert "unlabeled" in out
