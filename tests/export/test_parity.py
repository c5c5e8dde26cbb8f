"""Parity passes on equal models and fails on every planted fault."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from differseg.checkpoints import load_checkpoint, save_checkpoint
from differseg.cli import main as cli
from differseg.errors import DifferSegError, InputError, ModelFileError
from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.modelfile import manifest_of
from differseg.export.parity import compare_deployment, parity
from differseg.export.parity_compare import ALL_IMAGES, LITTLE_SHOWN, Comparison
from differseg.export.parity_data import Samples, load_samples, prepare
from differseg.export.parity_result import ParityResult, Side, Thresholds
from differseg.manifest import METADATA_KEY, Manifest, ThermalPolicy, WeightsRecord
from differseg.models import create_model
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec

SIZE_HW = (64, 96)
IMAGES = 3


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks run faster on one thread, and much faster on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class SmallNet(SegmentationModel):
    """Two convolutions over both modalities: exports in seconds."""

    def __init__(self, task: str = "rgbt") -> None:
        modalities = MODALITIES[task]
        super().__init__(ModelSpec("small", "test", task, modalities, BINARY_CLASSES, SIZE_HW))
        channels = sum(modality.channels for modality in modalities)
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.relu(self.first(torch.cat(inputs, dim=1)))
        return {"logits": self.last(hidden)}


def small_module(task: str = "rgbt") -> DeploymentModule:
    torch.manual_seed(8)
    net = SmallNet(task)
    with torch.no_grad():
        net.last.weight *= 4  # a decided network: probabilities from nearly 0 to nearly 1
    return DeploymentModule(net)


def export_small(module: DeploymentModule, path: Path) -> Path:
    example = module.raw_inputs_example(SIZE_HW)
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    export_onnx(module, example, path, manifest=manifest, strip="model.", verify=False)
    return path


@pytest.fixture(scope="module")
def module() -> DeploymentModule:
    return small_module()


@pytest.fixture(scope="module")
def model_file(module: DeploymentModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_small(module, tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured blobs, 16-bit thermal and a label, larger than the network's input."""
    root = tmp_path_factory.mktemp("data")
    for name in ("rgb", "thermal", "labels"):
        (root / name).mkdir()
    rng = np.random.default_rng(5)
    for number in range(IMAGES):
        noise = rng.normal(size=(96, 128, 4)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 5)
        smooth /= np.abs(smooth).max()
        rgb = (127.5 + 127.5 * smooth[:, :, :3]).astype(np.uint8)
        thermal = (30000 + 900 * smooth[:, :, 3]).astype(np.uint16)
        cv2.imwrite(str(root / "rgb" / f"f{number}.png"), rgb)
        cv2.imwrite(str(root / "thermal" / f"f{number}.png"), thermal)
        label = (smooth[:, :, 3] > 0).astype(np.uint8) * 255
        cv2.imwrite(str(root / "labels" / f"f{number}.png"), label)
    return root


def edited(
    model_file: Path,
    path: Path,
    edit: Callable[[dict[str, np.ndarray]], None] | None = None,
    manifest: Callable[[Manifest], Manifest] | None = None,
) -> Path:
    """Copy an ONNX file with other constants or another manifest."""
    model = onnx.load(str(model_file))
    if edit is not None:
        tensors = {t.name: onnx.numpy_helper.to_array(t).copy() for t in model.graph.initializer}
        edit(tensors)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(onnx.numpy_helper.from_array(tensors[tensor.name], tensor.name))
    if manifest is not None:
        found = manifest_of(model)
        assert found is not None
        entry = next(e for e in model.metadata_props if e.key == METADATA_KEY)
        entry.value = manifest(found).to_json()
    onnx.save(model, str(path))
    return path


def failed(result: ParityResult) -> set[str]:
    return {check.what for check in result.checks if not check.passed}


def samples_of(module: DeploymentModule, folder: Path | None, limit: int | None = None) -> Samples:
    manifest = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test"))
    return load_samples(manifest.inputs, folder, limit)


# Equal models pass.


def test_equal_models_pass(module: DeploymentModule, model_file: Path, folder: Path) -> None:
    result = compare_deployment(module, model_file, samples_of(module, folder))
    assert result.passed
    assert failed(result) == set()
    assert result.warnings == ()
    assert result.overall.max_error < 1e-5
    assert result.overall.flipped_pixels == 0
    assert result.size_hw == SIZE_HW
    assert [image.stem for image in result.images] == ["f0", "f1", "f2"]
    # The comparison is worth something: the masks are neither empty nor full.
    assert all(0.05 < image.foreground_a < 0.95 for image in result.images)
    assert result.overall.label_iou_a == result.overall.label_iou_b is not None
    record = result.record()
    assert (record.against, record.images) == ("PyTorch", IMAGES)
    assert record.max_error == result.overall.max_error


def test_same_file_twice_is_exactly_equal(model_file: Path, folder: Path) -> None:
    result = parity(model_file, model_file, folder)
    assert result.passed
    assert result.overall.max_error == 0.0
    assert result.a.sha256 == result.b.sha256


# Planted faults fail.


def wrong_scale(tensors: dict[str, np.ndarray]) -> None:
    tensors["normalize.rgb_scale"] *= 1.02


def missing_offset(tensors: dict[str, np.ndarray]) -> None:
    tensors["normalize.rgb_offset"][:] = 0


def scaled_weight(tensors: dict[str, np.ndarray]) -> None:
    tensors["first.weight"] *= 1.01


def swapped_colours(tensors: dict[str, np.ndarray]) -> None:
    tensors["first.weight"] = tensors["first.weight"][:, [2, 1, 0, 3]].copy()


@pytest.mark.parametrize("fault", [wrong_scale, missing_offset, scaled_weight, swapped_colours])
def test_fault_in_the_file_fails(
    module: DeploymentModule,
    model_file: Path,
    folder: Path,
    tmp_path: Path,
    fault: Callable[[dict[str, np.ndarray]], None],
) -> None:
    bad = edited(model_file, tmp_path / "bad.onnx", fault)
    result = compare_deployment(module, bad, samples_of(module, folder))
    assert not result.passed
    assert "max error" in failed(result)
    assert result.overall.max_error > 1e-3
    assert parity(model_file, bad, folder).overall.max_error == pytest.approx(
        result.overall.max_error, rel=1e-2
    )


@pytest.mark.parametrize("modality", ["rgb", "thermal"])
@pytest.mark.parametrize("what", ["mean", "std"])
def test_wrong_normalisation_of_the_wrapper_fails(
    module: DeploymentModule, model_file: Path, folder: Path, modality: str, what: str
) -> None:
    net = copy.deepcopy(module.model)
    changed = tuple(
        replace(m, **{what: tuple(1.05 * v for v in getattr(m, what))}) if m.name == modality else m
        for m in net.spec.modalities
    )
    net.spec = replace(net.spec, modalities=changed)
    result = compare_deployment(DeploymentModule(net), model_file, samples_of(module, folder))
    assert {"max error", "flipped pixels"} <= failed(result)


def test_swapped_colours_in_the_wrapper_fail(
    module: DeploymentModule, model_file: Path, folder: Path
) -> None:
    class Swapped(DeploymentModule):
        def forward(self, rgb: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
            return super().forward(rgb.flip(-1), second)

    result = compare_deployment(Swapped(module.model), model_file, samples_of(module, folder))
    assert {"max error", "flipped pixels", "mask IoU"} <= failed(result)


def test_another_threshold_in_the_manifest_fails(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    other = edited(
        model_file, tmp_path / "t.onnx", manifest=lambda found: replace(found, threshold=0.7)
    )
    result = parity(model_file, other, folder)
    assert result.overall.max_error == 0.0
    assert {"threshold difference", "flipped pixels"} <= failed(result)


def test_another_thermal_policy_in_the_manifest_fails(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    def fixed_range(found: Manifest) -> Manifest:
        policy = ThermalPolicy(kind="fixed", low_ck=28000, high_ck=33000)
        inputs = tuple(
            replace(spec, thermal_policy=policy) if spec.modality == "thermal" else spec
            for spec in found.inputs
        )
        return replace(found, inputs=inputs)

    other = edited(model_file, tmp_path / "p.onnx", manifest=fixed_range)
    assert "max error" in failed(parity(model_file, other, folder))


def test_nan_fails_even_where_both_sides_have_it(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    def broken(tensors: dict[str, np.ndarray]) -> None:
        tensors["last.bias"][:] = np.nan

    bad = edited(model_file, tmp_path / "nan.onnx", broken)
    result = parity(bad, bad, folder, thresholds=Thresholds(max_error=1.0))
    assert "NaN or infinite values" in failed(result)
    assert result.overall.nonfinite == IMAGES * SIZE_HW[0] * SIZE_HW[1]
    json.dumps(result.to_plain(), allow_nan=False)
    with pytest.raises(InputError, match="NaN or infinite"):
        result.record()


# Comparisons that show little say so.


def test_a_network_that_always_says_no_is_warned_about(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    def silent(tensors: dict[str, np.ndarray]) -> None:
        tensors["last.weight"][:] = 0
        tensors["last.bias"][:] = -3

    silent_file = edited(model_file, tmp_path / "silent.onnx", silent)
    result = parity(silent_file, silent_file, folder)
    assert result.passed
    assert LITTLE_SHOWN in result.warnings


def test_blank_images_are_warned_about(
    module: DeploymentModule, model_file: Path, tmp_path: Path
) -> None:
    write_pair(tmp_path, ("a", "a"), np.full((64, 96), 100, np.uint8))
    result = compare_deployment(module, model_file, samples_of(module, tmp_path))
    assert any("one colour" in warning for warning in result.warnings)


# The arithmetic, by hand.


def side(name: str, threshold: float = 0.5) -> Side:
    return Side(name, "test", "net", threshold, weights="a test")


def compared(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    labels: list[np.ndarray | None] | None = None,
    thresholds: Thresholds | None = None,
) -> ParityResult:
    comparison = Comparison(side("a"), side("b"), thresholds or Thresholds(), keep_panels=2)
    for number, (map_a, map_b) in enumerate(pairs):
        comparison.add(
            f"i{number}",
            np.asarray(map_a, np.float32)[None, None],
            np.asarray(map_b, np.float32)[None, None],
            labels[number] if labels else None,
        )
    return comparison.finish("by hand")


def square(value: float = 1.0, shift: int = 0, size: int = 40) -> np.ndarray:
    probability = np.zeros((size, size))
    probability[10:30, 10 + shift : 30 + shift] = value
    return probability


def test_figures_of_one_image_and_of_all() -> None:
    result = compared([(square(), square()), (square(), square(shift=5))])
    one, moved = result.images
    assert (one.max_error, one.flipped_pixels, one.mask_iou, one.boundary_f) == (0, 0, 1, 1)
    assert moved.max_error == 1.0
    assert moved.flipped_pixels == 2 * 5 * 20
    assert moved.mean_error == pytest.approx(200 / 1600)
    assert moved.mask_iou == pytest.approx(300 / 500)
    assert 0.4 < moved.boundary_f < 0.9
    overall = result.overall
    assert overall.stem == ALL_IMAGES
    assert overall.pixels == 3200
    assert overall.flipped_pixels == 200
    assert overall.mask_iou == moved.mask_iou
    assert overall.mean_error == pytest.approx(100 / 1600)
    assert [panel.figures.stem for panel in result.panels] == ["i1", "i0"]
    assert "worst: i1" in {check.where for check in result.checks}
    histogram = result.histogram
    assert histogram.pixels == 3200
    assert histogram.below == 3000
    assert histogram.share_above()[0] == pytest.approx(200 / 3200)
    assert histogram.quantile(0.5) == histogram.edges[0]


def test_label_figures_at_the_size_of_the_label() -> None:
    label = (square(size=40) > 0).astype(np.uint8)
    large = cv2.resize(label, (80, 80), interpolation=cv2.INTER_NEAREST)
    result = compared([(square(), square(shift=5))], [large])
    image = result.images[0]
    assert image.label_iou_a == pytest.approx(1.0)
    assert image.label_iou_b == pytest.approx(300 / 500)
    assert result.overall.label_iou_b == pytest.approx(300 / 500)
    assert "label IoU drop" in failed(result)
    ignored = large.copy()
    ignored[:, :40] = 255
    half = compared([(square(), square(shift=5))], [ignored]).images[0]
    assert half.label_iou_b == pytest.approx(200 / 300)


def test_a_better_b_is_no_drop() -> None:
    label = (square() > 0).astype(np.uint8)
    loose = Thresholds(max_error=1, flipped_pixels=10**6, min_mask_iou=0, min_boundary_f=0)
    assert compared([(square(shift=5), square())], [label], loose).passed


def test_a_pixel_at_the_threshold_is_foreground_as_on_the_device() -> None:
    at, below = square(0.5), square(0.4999)
    result = compared([(at, below)], thresholds=Thresholds(max_error=1.0))
    assert result.overall.foreground_a == 400 / 1600
    assert result.overall.flipped_pixels == 400


def test_a_tie_that_rounding_decides_is_reported_and_not_counted() -> None:
    map_a, map_b = square(), square()
    map_a[0, :3], map_b[0, :3] = 0.5 - 1.8e-7, 0.5 + 3.6e-7
    result = compared([(map_a, map_b)])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (0, 3)
    assert any("3 pixel(s) lie within 1e-06 of the threshold" in w for w in result.warnings)


@pytest.mark.parametrize("far", ["a", "b", "nan"])
def test_no_tie_where_one_side_is_off_the_threshold(far: str) -> None:
    map_a, map_b = square(), square()
    map_a[0, 0], map_b[0, 0] = 0.5 - 1e-7, 0.5 + 1e-7
    if far == "a":
        map_a[0, 0] = 0.5 - 2e-6
    elif far == "b":
        map_b[0, 0] = 0.5 + 2e-6
    else:
        map_a[0, 0] = np.nan
    result = compared([(map_a, map_b)])
    assert (result.overall.flipped_pixels, result.overall.tied_pixels) == (1, 0)
    assert not result.passed


LOOSE = Thresholds(
    max_error=1.0,
    flipped_pixels=10**6,
    min_mask_iou=0.0,
    min_boundary_f=0.0,
    max_label_iou_drop=1.0,
    max_threshold_difference=1.0,
)


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ({"max_error": 0.5}, "max error"),
        ({"flipped_pixels": 199}, "flipped pixels"),
        ({"min_mask_iou": 0.61}, "mask IoU"),
        ({"min_boundary_f": 0.95}, "boundary F"),
        ({"max_label_iou_drop": 0.39}, "label IoU drop"),
    ],
)
def test_each_limit_fails_alone(limit: dict[str, float], what: str) -> None:
    label = (square() > 0).astype(np.uint8)
    pairs = [(square(), square(shift=5))]
    assert compared(pairs, [label], LOOSE).passed
    result = compared(pairs, [label], replace(LOOSE, **limit))
    assert failed(result) == {what}
    assert what in result.summary()


@pytest.mark.parametrize(
    "limits", [{"max_error": -1.0}, {"min_mask_iou": 1.5}, {"max_error": float("nan")}]
)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        Thresholds(**limits)


def test_maps_of_two_sizes_and_empty_data_are_refused() -> None:
    comparison = Comparison(side("a"), side("b"), Thresholds())
    with pytest.raises(InputError, match=r"\(1, 1, 8, 8\)"):
        comparison.add("x", np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 16)))
    with pytest.raises(InputError, match="no images"):
        comparison.finish("nothing")


# What A and B may be.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that takes RGB alone."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "rgb.safetensors"
    network = create_model("differseg-rgb-edge", size_hw=SIZE_HW)
    save_checkpoint(path, network, extra={"trained_on": "nothing"})
    return path


def test_checkpoints_of_a_network(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    same = parity(checkpoint, checkpoint, folder, limit=1)
    assert same.passed
    assert (same.a.kind, same.a.model, same.size_hw) == ("PyTorch", "differseg-rgb-edge", SIZE_HW)
    assert same.a.weights == "rgb.safetensors, trained on nothing"
    assert same.images[0].label_iou_a is not None
    other = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(p for p in other.parameters() if p.dim() == 4).mul_(1.5)
    save_checkpoint(tmp_path / "other.safetensors", other)
    assert "max error" in failed(
        parity(checkpoint, tmp_path / "other.safetensors", folder, limit=1)
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("absent.onnx", "there is no such file"),
        ("absent.safetensors", "there is no such file"),
        ("m.engine", "TensorRT engines cannot be compared"),
        ("differseg-rgbt", "no weights are shipped for 'differseg-rgbt'"),
        ("diferseg-edge", "did you mean 'differseg-edge'"),
    ],
)
def test_a_wrong_form_is_one_line(model_file: Path, form: str, text: str) -> None:
    with pytest.raises(DifferSegError, match=text) as caught:
        parity(model_file, form)
    assert "\n" not in str(caught.value)


def test_two_sizes_or_modalities_are_refused(
    model_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"takes rgb and thermal, rgb\.safetensors takes rgb"):
        parity(model_file, checkpoint)
    larger = small_module()
    example = larger.raw_inputs_example((96, 96))
    manifest = build_manifest(larger.spec, (96, 96), weights=WeightsRecord("a test"))
    path = tmp_path / "larger.onnx"
    export_onnx(larger, example, path, manifest=manifest, verify=False)
    with pytest.raises(InputError, match=r"small\.onnx is 64x96, larger\.onnx is 96x96"):
        parity(model_file, path)


def test_a_file_without_manifest_is_refused(model_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(model_file))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "bare.onnx"))
    with pytest.raises(ModelFileError, match="no differseg manifest"):
        parity(model_file, tmp_path / "bare.onnx")


# Images.


def test_synthetic_scenes_are_the_same_each_time(module: DeploymentModule) -> None:
    first, second = (next(iter(samples_of(module, None, 1))) for _ in range(2))
    assert first.stem == second.stem
    for name in ("rgb", "thermal"):
        assert np.array_equal(first.arrays[name], second.arrays[name])
    assert first.arrays["rgb"].shape == (1, *SIZE_HW, 3)
    assert first.arrays["rgb"].dtype == np.uint8
    assert first.arrays["thermal"].shape == (1, 1, *SIZE_HW)
    assert 0 < first.arrays["thermal"].max() <= 1
    assert first.label is not None
    assert set(np.unique(first.label)) == {0, 1}
    assert first.pictures["thermal"].shape == SIZE_HW


@pytest.mark.parametrize("task", ["rgb", "rgbd", "video"])
def test_synthetic_scenes_serve_every_task(task: str) -> None:
    samples = samples_of(small_module(task), None, 1)
    assert len(samples) == 1
    sample = next(iter(samples))
    assert [spec.modality for spec in sample.inputs] == list(sample.arrays)
    assert all(np.ptp(array) > 0 for array in sample.arrays.values())
    assert (sample.label is not None) == (task == "rgb")


def test_limit_spreads_over_the_folder(module: DeploymentModule, folder: Path) -> None:
    samples = samples_of(module, folder, 2)
    assert [sample.stem for sample in samples] == ["f0", "f2"]
    assert "2 of 3 images" in samples.description
    with pytest.raises(InputError, match="at least 1"):
        samples_of(module, folder, 0)


def test_label_rule_decides_what_is_foreground(module: DeploymentModule, folder: Path) -> None:
    inputs = build_manifest(module.spec, SIZE_HW, weights=WeightsRecord("a test")).inputs
    found = next(iter(load_samples(inputs, folder, 1))).label
    other = next(iter(load_samples(inputs, folder, 1, label_rule="7"))).label
    assert found is not None
    assert other is not None
    assert found.any()
    assert not other.any()
    with pytest.raises(InputError, match="label rule 'sevens'"):
        load_samples(inputs, folder, 1, label_rule="sevens")


def test_real_pairs(module: DeploymentModule, model_file: Path, sample_data: Path) -> None:
    samples = samples_of(module, sample_data / "mfnet", 3)
    assert "mfnet" in samples.description.split("rule")[1]
    result = compare_deployment(module, model_file, samples)
    assert result.passed
    assert result.overall.label_iou_a is not None


def write_pair(root: Path, stems: tuple[str, str], thermal: np.ndarray) -> None:
    for name, stem, image in (
        ("rgb", stems[0], np.zeros((64, 96, 3), np.uint8)),
        ("thermal", stems[1], thermal),
    ):
        (root / name).mkdir()
        cv2.imwrite(str(root / name / f"{stem}.png"), image)


@pytest.mark.parametrize(
    ("stems", "shape", "text"),
    [
        (("odd", "even"), (64, 96), "odd"),
        (("same", "same"), (64, 96, 3), "thermal"),
    ],
)
def test_data_that_cannot_be_used_is_one_line(
    module: DeploymentModule,
    tmp_path: Path,
    stems: tuple[str, str],
    shape: tuple[int, ...],
    text: str,
) -> None:
    rng = np.random.default_rng(0)
    write_pair(tmp_path, stems, rng.integers(0, 256, shape, dtype=np.uint8))
    with pytest.raises(InputError, match=text) as caught:
        list(samples_of(module, tmp_path))
    assert "\n" not in str(caught.value)


def test_folder_that_is_not_there_is_one_line(module: DeploymentModule, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        samples_of(module, tmp_path / "nowhere")


def test_nan_in_an_image_names_the_image() -> None:
    manifest = build_manifest(small_module("rgbd").spec, SIZE_HW, weights=WeightsRecord("a test"))
    depth = np.full((64, 96), np.nan, np.float32)
    with pytest.raises(InputError, match="image 'odd': depth: 6144 of 6144 values are NaN"):
        prepare("odd", {"rgb": np.zeros((64, 96, 3), np.uint8), "depth": depth}, manifest.inputs)


# The command.


def test_command_tells_by_status_and_json(
    model_file: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = tmp_path / "out" / "report.html"
    common = ["--data", str(folder), "--json"]
    status = cli(["parity", str(model_file), str(model_file), *common, "--report", str(report)])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    document = json.loads(last)
    assert status == 0
    assert document["passed"] is True
    assert document["report"] == str(report)
    assert len(document["images"]) == IMAGES
    assert report.read_text(encoding="utf-8").count("<article") == IMAGES

    bad = edited(model_file, tmp_path / "bad.onnx", scaled_weight)
    status = cli(["parity", str(model_file), str(bad), *common])
    out = capsys.readouterr().out
    assert status == 1
    assert json.loads(out.strip().splitlines()[-1])["passed"] is False
    assert "FAILED" in out
    loose = ["--max-error", "1", "--flipped-pixels", "100000", "--min-mask-iou", "0"]
    loose += ["--min-boundary-f", "0", "--max-label-iou-drop", "1"]
    assert cli(["parity", str(model_file), str(bad), *common, *loose]) == 0


def test_two_files_are_compared_on_a_device_without_pytorch(
    model_file: Path, checkpoint: Path, folder: Path
) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'timm', 'safetensors')));"
        "from differseg.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def run(second: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "parity", str(model_file), str(second)]
        return subprocess.run(
            [*command, "--data", str(folder)], capture_output=True, text=True, check=False
        )

    assert run(model_file).returncode == 0
    refused = run(checkpoint)
    assert refused.returncode == 3
    assert refused.stderr.startswith("error[E_MISSING]: parity:")
    assert "Traceback" not in refused.stderr


def test_command_refuses_in_one_line(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["parity", str(model_file), "nothing.onnx"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error[E_INPUT]: parity: nothing.onnx")
    assert "\n" not in error
    assert cli(["parity", str(model_file), str(model_file), "--limit", "0"]) == 2
