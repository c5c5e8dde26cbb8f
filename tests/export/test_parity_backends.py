"""One side of a comparison in an engine and a precision that the user names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from differseg.errors import InputError, MissingComponentError
from differseg.export.parity import main, parity
from differseg.export.parity_result import Thresholds
from differseg.runtime.backends import cpu_features
from differseg.runtime.backends.options import EngineOptions

OPENVINO = EngineOptions(backend="openvino", threads=1)


def test_openvino_in_float32_flips_nothing(model_file: Path, folder: Path) -> None:
    pytest.importorskip("openvino")
    result = parity(model_file, model_file, folder, engine=OPENVINO)
    assert result.passed, result.summary()
    assert (result.a.kind, result.b.kind) == ("ONNX Runtime", "OpenVINO")
    assert list(result.b.versions) == ["openvino"]
    assert result.overall.flipped_pixels == 0
    assert result.b.precision == "fp32"


@pytest.mark.skipif(
    not {"avx512_bf16", "amx_bf16"} & (cpu_features.cpu_flags() or frozenset()),
    reason="this processor computes no bfloat16",
)
def test_bfloat16_is_another_precision(model_file: Path, folder: Path) -> None:
    pytest.importorskip("openvino")
    engine = EngineOptions(backend="openvino", threads=1, cpu_precision="bf16")
    strict = parity(model_file, model_file, folder, engine=engine, limit=1)
    assert "max error" in {check.what for check in strict.checks if not check.passed}
    loose = Thresholds(max_error=0.5, flipped_part=0.005, min_mask_iou=0.0, min_boundary_f=0.0)
    result = parity(model_file, model_file, folder, engine=engine, limit=1, thresholds=loose)
    assert result.b.precision == "fp32, computed in bf16"
    flipped = next(check for check in result.checks if check.what == "flipped pixels")
    assert flipped.limit == int(0.005 * result.overall.pixels)


@pytest.mark.slow
def test_the_shipped_weights_keep_their_masks(sample_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from differseg.export.to_onnx import export_model

    path = tmp_path / "edge.onnx"
    export_model(path, model="differseg-edge", limit=1, real=False)
    exact = parity(path, path, sample_data / "mfnet", engine=OPENVINO, limit=8)
    assert exact.passed, exact.summary()
    assert exact.overall.flipped_pixels == 0
    if not {"avx512_bf16", "amx_bf16"} & (cpu_features.cpu_flags() or frozenset()):
        return
    engine = EngineOptions(backend="openvino", threads=1, cpu_precision="bf16")
    rounded = parity(path, path, sample_data / "mfnet", engine=engine, limit=8)
    assert 0 < rounded.overall.flipped_pixels <= 0.005 * rounded.overall.pixels
    drop = (rounded.overall.label_iou_a or 0.0) - (rounded.overall.label_iou_b or 0.0)
    assert drop < 0.005


def test_the_verb_hands_the_engine_on(
    model_file: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(model_file), str(model_file), "--data", str(folder), "--limit", "1"]
    assert main([*command, "--backend", "onnxruntime", "--threads", "1", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert plain["b"]["kind"] == "ONNX Runtime"
    with pytest.raises(InputError, match="bf16: ONNX Runtime computes in what the file says"):
        main([*command, "--cpu-precision", "bf16"])


def test_an_engine_is_for_an_onnx_file_as_b(model_file: Path, checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"--cpu-precision are for an \.onnx file as B"):
        parity(model_file, checkpoint, engine=OPENVINO)
    with pytest.raises(InputError, match="--layers looks into ONNX Runtime's own runs"):
        parity(model_file, model_file, layers=True, engine=OPENVINO)


def test_a_missing_engine_is_no_reason_for_another(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingComponentError, match=r"differseg\[openvino\]"):
        parity(model_file, model_file, engine=OPENVINO)


def test_a_part_of_pixels_beyond_1_is_refused() -> None:
    with pytest.raises(InputError, match=r"--flipped-part: expected 0\.\.1, got 2"):
        Thresholds(flipped_part=2)
