"""The bench on a real file, and what it refuses before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.bench import runtime_peers
from differseg.bench.command import BenchOptions, bench
from differseg.bench.worker import WorkerOptions
from differseg.cli import main as cli
from differseg.errors import CheckpointError


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "tiny.onnx", tiny_onnx((64, 96)), tiny_manifest((64, 96)))


def test_runtime_and_session_of_a_file(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "table.md"
    command = ["bench", str(model_file), "--frames", "4", "--bursts", "2", "--rounds", "1"]
    assert cli([*command, "--threads", "1", "--markdown", str(markdown), "--json"]) == 0
    document = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    runtime, session = document["peers"]["runtime"], document["peers"]["session"]
    assert runtime["median_ms"] > 0
    assert session["median_ms"] > 0
    assert runtime["frames"] >= 4
    assert {"register", "infer"} <= set(runtime["stages_p50_ms"])
    assert session["stages_p50_ms"] == {}
    assert "| runtime | differseg runtime, ONNX Runtime" in markdown.read_text()


def test_a_burst_is_a_whole_camera_run(model_file: Path, tmp_path: Path) -> None:
    from differseg.bench.command import _render_frames
    from differseg.runtime.segmenter import Segmenter

    with Segmenter(model_file, threads=1) as segmenter:
        manifest = segmenter.manifest
    frames = tmp_path / "frames.npz"
    _render_frames(model_file, manifest, frames)
    burst, _ = runtime_peers.runtime_burst(WorkerOptions("runtime", model_file, frames, threads=1))
    for count in (1, 11):  # more than the frames that were rendered
        times = burst(count)
        assert len(times) == count
        in_stages_ms = sum(sum(stages.values()) for _, stages in times)
        assert sum(ms for ms, _ in times) > in_stages_ms > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--frames", "0"], "--frames 0: expected 1 or more"),
        (["--bursts", "-2"], "--bursts -2: expected 1 or more"),
        (["--rounds", "0"], "--rounds 0: expected 1 or more"),
        (["--threads", "0"], "--threads 0: expected 1 or more"),
        (["--checkpoint", "nowhere.safetensors"], "nowhere.safetensors: there is no such file"),
        (["--markdown", "nowhere/table.md"], "there is no folder nowhere"),
        (["--vs", "tensorflow"], "no peer 'tensorflow'"),
    ],
)
def test_bad_values_are_refused_in_one_line(
    model_file: Path, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(["bench", str(model_file), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert "\n" not in error


def test_a_model_whose_input_cannot_be_rendered_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(tiny_manifest().to_json())
    document["inputs"][1].update(name="depth", modality="depth", thermal_policy=None)
    model = tiny_onnx()
    for node in model.graph.node:
        node.input[:] = ["depth" if name == "thermal" else name for name in node.input]
    model.graph.input[1].name = "depth"
    path = write_model(tmp_path / "depth.onnx", model, json.dumps(document))
    assert cli(["bench", str(path)]) == 2
    assert "takes depth, for which no frames can be rendered" in capsys.readouterr().err


def test_what_a_worker_refuses_comes_back_in_its_own_words(
    model_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    options = BenchOptions(model_file, vs="torch", checkpoint=broken, rounds=1, bursts=1, frames=1)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        bench(options)
