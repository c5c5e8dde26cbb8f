"""The bench of an engine beside its ONNX file, TensorRT being the contract test-bed's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contract.install import fake_tensorrt
from contract.installed import install_release
from contract_engines import engine_of
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.cli import main as cli


def test_levels_of_an_engine_and_its_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "tiny.onnx", tiny_onnx((64, 96)), tiny_manifest((64, 96)))
    with fake_tensorrt("10.3") as bed:
        engine = engine_of(bed, model, tmp_path)
    release = install_release(monkeypatch, tmp_path / "release", "10.3")
    (release / "sitecustomize.py").write_text("import tensorrt\n")  # the fake brings CUDA along
    command = ["bench", str(engine), "--vs", f"{model}@onnxruntime", "--threads", "1", "--json"]
    assert cli([*command, "--frames", "2", "--bursts", "1", "--rounds", "1"]) == 0
    peers = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["peers"]
    assert list(peers) == ["engine", "runtime", "end-to-end", "tiny.onnx@onnxruntime"]
    assert all("tensorrt" in peers[name]["description"] for name in list(peers)[:3])
    assert peers["tiny.onnx@onnxruntime"]["description"].startswith("onnxruntime")
