"""OpenVINO: the same numbers as ONNX Runtime, and no precision that the processor has not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.errors import (
    CheckFailedError,
    DifferSegError,
    InputError,
    MissingComponentError,
    ModelFileError,
)
from differseg.runtime import Segmenter
from differseg.runtime.backends import cpu_features, open_backend
from differseg.runtime.backends import openvino as openvino_backend
from differseg.runtime.backends.openvino import OpenVinoBackend, openvino_core

pytest.importorskip("openvino")


def refusal(path: Path, kind: type[DifferSegError] = ModelFileError) -> str:
    """What opening the file says, checked to be one line with the path."""
    with pytest.raises(kind) as caught:
        OpenVinoBackend(path, threads=1)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_it_agrees_with_onnx_runtime(classes_model: Path) -> None:
    draw = np.random.default_rng(3)
    outputs = []
    for name in ("openvino", "onnxruntime"):
        backend = open_backend(classes_model, name, threads=2)  # type: ignore[arg-type]
        draw = np.random.default_rng(3)
        for buffer in backend.inputs.values():
            whole = buffer.dtype == np.uint8
            buffer[:] = draw.integers(0, 256, buffer.shape) if whole else draw.random(buffer.shape)
        backend.run()
        outputs.append(backend.outputs["class_probability"])
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-6
    assert np.ptp(outputs[0]) > 0.5


def test_its_settings_come_with_their_reason(tiny_model: Path) -> None:
    chosen = open_backend(tiny_model, "openvino", threads=1)
    assert chosen.name == "openvino CPU"
    assert chosen.reason == "asked for; 1 threads, asked for; computes in f32, as always"
    named = OpenVinoBackend(tiny_model, cpu_precision="f32")
    assert "one per usable core; computes in f32, asked for" in named.reason


def test_nan_in_its_output_is_a_failed_check(tmp_path: Path) -> None:
    model = tiny_onnx()
    weights = model.graph.initializer[0]
    weights.raw_data = np.full_like(numpy_helper.to_array(weights), np.nan).tobytes()
    path = write_model(tmp_path / "nan.onnx", model, tiny_manifest())
    frames = {"rgb": np.zeros((16, 24, 3), np.uint8), "thermal": np.full((16, 24), 30000, "u2")}
    with Segmenter(path, "openvino", 1) as segmenter, pytest.raises(CheckFailedError, match="NaN"):
        segmenter(**frames)


def with_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str) -> None:
    """Let the processor be an x86 one with these features."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(cpu_features.platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("precision", "flags", "capabilities", "said"),
    [
        ("bf16", "avx512f avx512_vnni", ["FP32", "BF16"], "computes no bfloat16"),
        ("bf16", "avx512_bf16", ["FP32"], "OpenVINO computes no bf16 on this processor"),
        ("f16", "avx512_bf16", ["FP32", "BF16"], "OpenVINO computes no f16 on this processor"),
    ],
)
def test_a_precision_that_would_be_imitated_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    precision: str,
    flags: str,
    capabilities: list[str],
    said: str,
) -> None:
    with_flags(monkeypatch, tmp_path, flags)
    with pytest.raises(InputError, match=said) as caught:
        openvino_backend._check_precision(precision, capabilities)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"--cpu-precision {precision}: ")
    assert str(caught.value).endswith("take f32")


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_bfloat16_is_taken_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: str
) -> None:
    with_flags(monkeypatch, tmp_path, flag)
    openvino_backend._check_precision("bf16", ["FP32", "BF16"])


class SilentlyOther:
    """A stand-in for OpenVINO that compiles in another precision than the one asked for."""

    available_devices = ("CPU",)
    settings: dict[str, object] = {}  # noqa: RUF012

    def get_property(self, device: str, name: str) -> list[str]:
        return ["FP32", "FP16", "BF16"]

    def read_model(self, path: str) -> object:
        return openvino_core().read_model(path)

    def compile_model(self, model: object, device: str, settings: dict[str, object]) -> object:
        SilentlyOther.settings = settings
        return openvino_core().compile_model(
            model, device, {**settings, "INFERENCE_PRECISION_HINT": "f32"}
        )


def test_a_precision_that_was_not_taken_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_backend, "openvino_core", SilentlyOther)
    with pytest.raises(InputError, match="cpu-precision f16: OpenVINO would compute in f32 here"):
        OpenVinoBackend(tiny_model, threads=1, cpu_precision="f16")
    OpenVinoBackend(tiny_model, threads=1)
    assert SilentlyOther.settings["INFERENCE_PRECISION_HINT"] == "f32"  # said also by default


def test_a_graph_that_is_not_the_manifests(tmp_path: Path) -> None:
    rgb, thermal = tiny_manifest().inputs
    manifest = tiny_manifest(inputs=(replace(rgb, shape=(1, 32, 24, 3)), thermal))
    path = write_model(tmp_path / "other.onnx", tiny_onnx(), manifest)
    assert "input 'rgb' is [1, 16, 24, 3], the manifest says [1, 32, 24, 3]" in refusal(path)
    manifest = tiny_manifest(inputs=(replace(rgb, name="image"), thermal))
    path = write_model(tmp_path / "name.onnx", tiny_onnx(), manifest)
    assert "inputs are rgb, thermal, the manifest says image, thermal" in refusal(path)


def test_a_dynamic_size_is_refused(tmp_path: Path) -> None:
    model = tiny_onnx()
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value in (16, 24):
                dim.dim_param = f"size_{dim.dim_value}"
    rgb, thermal = tiny_manifest().inputs
    outputs = tiny_manifest().outputs
    manifest = tiny_manifest(
        inputs=(replace(rgb, shape=(1, -1, -1, 3)), replace(thermal, shape=(1, 1, -1, -1))),
        outputs=(replace(outputs[0], shape=(1, 1, -1, -1)),),
    )
    text = refusal(write_model(tmp_path / "dynamic.onnx", model, manifest))
    assert "--size HxW" in text


def test_an_operator_that_it_lacks(tmp_path: Path) -> None:
    model = tiny_onnx()
    model.graph.node[0].domain = "differseg"
    model.opset_import.append(helper.make_opsetid("differseg", 1))
    text = refusal(write_model(tmp_path / "plugin.onnx", model, tiny_manifest()))
    assert "OpenVINO cannot load it" in text
    assert "--ops portable" in text


def test_weights_outside_the_file_that_are_gone(tmp_path: Path) -> None:
    model = write_model(tmp_path / "inside.onnx", tiny_onnx(), tiny_manifest())
    path = tmp_path / "split.onnx"
    onnx.save(
        onnx.load(model), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    (tmp_path / "w.bin").unlink()
    assert "w.bin" in refusal(path)


def test_without_openvino_the_extra_is_named(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'differseg\[openvino\]'"):
        OpenVinoBackend(tiny_model)
    with pytest.raises(MissingComponentError, match=r"--backend openvino: not installed; .*openv"):
        open_backend(tiny_model, "openvino")


SIGNALS_AFTER = """
import faulthandler, signal, sys, threading
from differseg.runtime.backends.openvino import OpenVinoBackend

faulthandler.enable()  # which sets up a stack for handlers of signals
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
if {threaded}:
    opened = [OpenVinoBackend(sys.argv[1], threads=1)]
    thread = threading.Thread(target=opened.clear)
    thread.start()
    thread.join()
else:
    first, second = (OpenVinoBackend(sys.argv[1], threads=1) for _ in range(2))
    del first
    del second
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize("threaded", [False, True])
def test_signals_are_handled_after_models_are_closed(tiny_model: Path, threaded: bool) -> None:
    """A core of OpenVINO that goes takes the stack of signal handlers along."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS_AFTER.format(threaded=threaded), tiny_model],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


RUN_ALONE = """
import sys
sys.modules["onnxruntime"] = None
import numpy as np
from differseg.runtime import Segmenter
frames = {"rgb": np.full((16, 24, 3), 255, np.uint8), "thermal": np.full((16, 24), 30000, "u2")}
with Segmenter(sys.argv[1], threads=1) as segmenter:
    result = segmenter(**frames)
    print(segmenter.backend.name, result.coverage)
"""


def test_a_device_with_openvino_alone_can_run(tiny_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALONE, str(tiny_model)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["openvino", "CPU", "1.0"], "")
