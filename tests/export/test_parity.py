"""Parity passes on equal models and fails on every planted fault."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_network import IMAGES, SIZE_HW, edited, failed, samples_of, write_pair

from differseg.cli import main as cli
from differseg.errors import InputError
from differseg.export.parity import compare_deployment, parity
from differseg.export.parity_compare import LITTLE_SHOWN
from differseg.export.parity_result import Thresholds
from differseg.manifest import Manifest, ThermalPolicy, WeightsRecord
from differseg.models.deployment import DeploymentModule

pytestmark = pytest.mark.usefixtures("one_thread")

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


def test_random_weights_are_warned_about_unless_the_caller_made_them(
    module: DeploymentModule, model_file: Path, folder: Path, tmp_path: Path
) -> None:
    def untrained(found: Manifest) -> Manifest:
        return replace(found, weights=WeightsRecord("random (seed 0)"))

    file = edited(model_file, tmp_path / "untrained.onnx", manifest=untrained)
    warned = "the weights of untrained.onnx are random (not trained)"
    assert parity(file, file, folder).warnings == (warned,)
    assert parity(model_file, file, folder).warnings == (warned,)
    assert compare_deployment(module, file, samples_of(module, folder)).warnings == ()


# The command.


@pytest.mark.parametrize("name", ["b.onnx", "report", "report.pdf", "link.html"])
def test_a_report_does_not_take_the_place_of_a_model(
    model_file: Path, folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = tmp_path / "b.onnx"
    judged.write_bytes(model_file.read_bytes())
    (tmp_path / "link.html").symlink_to(judged)
    command = ["parity", str(model_file), str(judged), "--data", str(folder)]
    assert cli([*command, "--report", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error[E_INPUT]: parity: --report: ")
    assert error.count("\n") == 1
    assert judged.read_bytes() == model_file.read_bytes()


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


def test_command_takes_a_data_set_by_name(
    model_file: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("rgb", "thermal", "labels"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "val.txt").write_text("f0\n", encoding="utf-8")
    command = ["parity", str(model_file), str(model_file), "--data", f"mfnet:{tmp_path}"]
    assert cli([*command, "--split", "val", "--label-rule", "nonzero", "--json"]) == 0
    document = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert [image["stem"] for image in document["images"]] == ["f0"]
    assert "split val" in document["data"]
    assert cli(command) == 2
    error = capsys.readouterr().err
    assert "split test" in error
    assert "missing: test.txt" in error


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
