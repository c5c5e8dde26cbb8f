"""One export step by step: what is refused before the work, and what ends it half-way."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from small_network import write_pair

from differseg.cli import main
from differseg.errors import MissingComponentError
from differseg.export import export_run
from differseg.export.to_onnx import ExportOptions


@dataclass
class Steps:
    """Notes which steps of an export were begun."""

    begun: list[str] = field(default_factory=list)

    def trace(self, *arguments: object, **options: object) -> object:
        self.begun.append("trace")
        return object()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """An export whose graph is a stub: the steps around it run in a moment."""
    noted = Steps()
    monkeypatch.setattr(export_run, "trace", noted.trace)
    monkeypatch.setattr(export_run, "lowered_for_export", lambda module, size_hw: module)
    monkeypatch.setattr(export_run, "finish_graph", lambda graph, ops, strip: [])
    return noted


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert main(["export", "--model", "differseg-edge", "--size", "64x96", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("name", ["weights.safetensors", "edge", "edge.engine", "link.onnx"])
def test_the_output_is_an_onnx_file_of_its_own(tmp_path, capsys, steps, name):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"precious")
    (tmp_path / "link.onnx").symlink_to(weights)
    error = refused(
        capsys, ["--checkpoint", str(weights), "-o", str(tmp_path / name), "--keep-failed"]
    )
    own = name in ("weights.safetensors", "link.onnx")
    assert ("is the checkpoint" if own else "--out: expected a file that ends in .onnx") in error
    assert weights.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.onnx", "weights.safetensors"]


def test_data_are_looked_at_before_the_network_is_traced(tmp_path, capsys, steps):
    data = tmp_path / "data"
    (data / "rgb").mkdir(parents=True)
    arguments = ["-o", str(tmp_path / "f.onnx"), "--data", str(data)]
    assert re.search(r"folder thermal/ is missing", refused(capsys, arguments))
    (data / "rgb").rmdir()
    write_pair(data, ("a", "a"), np.zeros((64, 96), np.uint8))
    (data / "rgb" / "a.png").write_text("not a picture")
    assert "a.png" in refused(capsys, arguments)
    assert steps.begun == []
    assert list(tmp_path.iterdir()) == [data]


def test_a_full_disk_names_the_file(tmp_path, capsys, steps, monkeypatch):
    def full(graph: object, part: Path) -> tuple[int, int]:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_run, "write_graph", full)
    out = tmp_path / "f.onnx"
    error = refused(capsys, ["-o", str(out)])
    assert f"{out}: cannot be written (No space left on device); free space" in error
    assert steps.begun == ["trace"]
    assert list(tmp_path.iterdir()) == []


def test_sigterm_leaves_nothing_behind(tmp_path, monkeypatch):
    def terminated(name: str, checkpoint: Path | None) -> None:
        assert len(list(tmp_path.iterdir())) == 1  # the folder of the unfinished file
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    monkeypatch.setattr(export_run, "load_network", terminated)
    with pytest.raises(SystemExit) as stop:
        main(["export", "--model", "differseg-edge", "-o", str(tmp_path / "f.onnx")])
    assert stop.value.code == 143
    assert list(tmp_path.iterdir()) == []


def test_a_builder_that_cannot_run_is_a_warning(model_file, monkeypatch):
    checked = export_run.check

    def check(path: Path, target: str, real: bool, plugins: object = ()) -> object:
        if real:
            raise MissingComponentError("libcore.so.9: its self-test failed")
        return checked(path, target, False)

    monkeypatch.setattr(export_run, "check", check)
    monkeypatch.setattr(export_run.rtx, "is_available", lambda: True)
    options = ExportOptions(out=model_file)
    unheard = export_run.Steps(export_run.silent)
    report, warnings = export_run._check(model_file, options, unheard)
    assert report.passed
    assert report.rtx is None
    said = "NVIDIA's parser and builder did not run: libcore.so.9: its self-test failed"
    assert warnings == [said]
