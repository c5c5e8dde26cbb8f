"""``differseg quantize``: from a float32 file to a checked int8 one, or nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import onnx
import pytest
from calibration_data import write_mfnet

from differseg.calibration.dataset import CalibrationSet
from differseg.calibration.quantize import quantize
from differseg.cli import main
from differseg.data.synthetic import SyntheticScene
from differseg.data.synthetic_dataset import write_sample
from differseg.errors import CheckFailedError, InputError
from differseg.export import check
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.to_onnx import export_model
from differseg.runtime.segmenter import Segmenter

SIZE = (96, 128)


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    path = tmp_path_factory.mktemp("edge") / "edge.onnx"
    export_model(path, model="differseg-edge", size=SIZE, limit=1, real=False)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed in range(4):
        scene = SyntheticScene(seed=8_100_000 + seed, night=bool(seed % 2))
        write_sample(folder, f"s{seed}", scene.sample(0.5))
    return folder


@pytest.fixture(scope="module")
def quantised(edge, images):
    out = edge.with_name("edge.int8.onnx")
    return quantize(edge, images, out, max_drop=1.0, method="min-max", real=False)


def test_the_file_is_int8_in_float16_and_says_why(quantised):
    model = read_model(quantised.path)
    manifest = manifest_of(model)
    assert (manifest.precision, manifest.opset) == ("int8", 19)
    said = {decision.what: decision for decision in manifest.decisions}
    assert "% of the work" in said["int8"].value
    assert "4 image(s) by the method min-max" in said["int8"].reason
    assert "largest drop" in said["int8 check"].reason
    assert any(decision.value == "not int8" for decision in manifest.decisions)
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16} <= types
    assert quantised.share == 1
    assert quantised.evaluations == 1


def test_a_data_set_by_name_is_calibrated_on_train(edge, tmp_path):
    data = f"mfnet:{write_mfnet(tmp_path)}"
    out = tmp_path / "a.onnx"
    main(["quantize", str(edge), "--data", data, "--images", "2", "--method", "min-max",
          "--target", "onnxruntime", "--max-drop", "1", "-o", str(out)])  # fmt: skip
    said = {decision.what: decision for decision in manifest_of(read_model(out)).decisions}
    inputs = manifest_of(read_model(edge)).inputs
    fingerprint = CalibrationSet.open(data, inputs, 2).fingerprint
    assert f"by labels on 2 images ({fingerprint[:16]})" in said["int8 check"].reason


def test_targets_of_the_typed_form_take_it(quantised):
    for target in ("jetpack6", "jetpack7", "trt11.4"):
        assert check(quantised.path, target).passed


def test_the_runtime_runs_it(quantised):
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    with Segmenter(quantised.path) as segmenter:
        assert segmenter(rgb=rgb, thermal=rgb[..., 0]).mask.shape == SIZE


@pytest.mark.parametrize("target", ["jetpack5", "onnxruntime"])
def test_targets_without_float16_around_int8(edge, images, target, tmp_path):
    report = quantize(
        edge, images, tmp_path / "a.onnx", target=target, max_drop=1.0, method="min-max", real=False
    )
    model = read_model(report.path)
    assert report.check.passed
    assert model.opset_import[0].version == 17
    assert all(t.data_type != onnx.TensorProto.FLOAT16 for t in model.graph.initializer)


def test_masks_that_suffer_too_much_leave_no_file(edge, images, tmp_path):
    out = tmp_path / "a.onnx"
    with pytest.raises(CheckFailedError, match=r"falls by 0\.\d+, more than --max-drop 0; try"):
        quantize(edge, images, out, max_drop=0.0, method="min-max", real=False)
    assert not list(tmp_path.iterdir())


def test_constant_frames_are_refused(edge, images, tmp_path, capsys):
    for name in ("rgb", "thermal", "labels"):
        (tmp_path / "flat" / name).mkdir(parents=True)
    for index in range(3):
        flat = np.full((64, 64), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "flat" / "rgb" / f"{index}.png"), np.dstack([flat] * 3))
        cv2.imwrite(str(tmp_path / "flat" / "thermal" / f"{index}.png"), flat)
        cv2.imwrite(str(tmp_path / "flat" / "labels" / f"{index}.png"), flat // 90)
    arguments = [str(edge), "--data", str(tmp_path / "flat"), "-o", str(tmp_path / "a.onnx")]
    assert main(["quantize", *arguments]) == 1
    assert "constant" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def test_a_quantised_file_is_not_quantised_again(quantised, images, tmp_path):
    with pytest.raises(InputError, match=r"quantised already \(node '.*QuantizeLinear"):
        quantize(quantised.path, images, tmp_path / "b.onnx", real=False)


def test_json_and_the_table(edge, images, tmp_path, capsys):
    arguments = [str(edge), "--data", str(images), "-o", str(tmp_path / "a.onnx"), "--json"]
    options = ["--max-drop", "1", "--method", "min-max", "--no-real", "--target", "onnxruntime"]
    assert main(["quantize", *arguments, *options]) == 0
    *text, last = capsys.readouterr().out.strip().splitlines()
    document = json.loads(last)
    assert document["reference"]["iou"] - document["score"]["iou"] <= document["drop"]
    assert any("float32" in line for line in text)


@pytest.mark.slow
def test_a_killed_search_leaves_no_model_and_goes_on(edge, images, tmp_path):
    out = tmp_path / "a.onnx"
    command = [
        sys.executable, "-m", "differseg.cli", "quantize", str(edge), "--data", str(images), "-o",
        str(out), "--search", "--max-drop", "0.002", "--method", "min-max", "--no-real",
    ]  # fmt: skip
    log = out.with_suffix(".search.jsonl")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if log.exists() and len(log.read_text().splitlines()) >= 3:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(log.read_text().splitlines())
    assert kept >= 3
    assert not out.exists()
    report = quantize(edge, images, out, search=True, max_drop=0.002, method="min-max", real=False)
    assert report.reference.drop_to(report.score) <= 0.002
    assert 0 < report.share < 1
    assert out.exists()
    assert not log.exists()
