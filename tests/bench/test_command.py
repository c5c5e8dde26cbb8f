"""The bench on a real file, and what it refuses before anything is measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.bench import runtime_peers
from differseg.bench.command import BenchOptions, bench, render_frames
from differseg.bench.interleave import measure
from differseg.bench.worker import WorkerOptions
from differseg.cli import main as cli
from differseg.errors import CheckpointError, DifferSegError
from differseg.runtime.model_file import read_manifest


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "tiny.onnx", tiny_onnx((64, 96)), tiny_manifest((64, 96)))


def test_levels_and_peers_of_a_file(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "table.md"
    other = shutil.copy(model_file, tmp_path / "other.onnx")
    command = ["bench", str(model_file), "--frames", "4", "--bursts", "1", "--rounds", "1"]
    command += ["--backend", "onnxruntime", "--vs", f"session,{other}"]
    assert cli([*command, "--threads", "1", "--markdown", str(markdown), "--json"]) == 0
    document = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    peers = document["peers"]
    assert list(peers) == ["engine", "runtime", "end-to-end", "session", "other.onnx"]
    assert all(peer["median_ms"] > 0 and peer["frames"] >= 4 for peer in peers.values())
    assert set(peers["runtime"]["stages_p50_ms"]) == {"prepare", "infer", "post"}
    assert {"register", "infer"} <= set(peers["end-to-end"]["stages_p50_ms"])
    assert peers["engine"]["stages_p50_ms"] == peers["session"]["stages_p50_ms"] == {}
    assert (peers["engine"]["kind"], peers["other.onnx"]["kind"]) == ("engine", "engine")
    assert peers["engine"]["speed"] == 1.0
    assert "| end-to-end | camera run, onnxruntime 1." in markdown.read_text()


def test_a_burst_is_a_whole_camera_run(model_file: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames.npz"
    render_frames(read_manifest(model_file), frames)
    options = WorkerOptions("x", "end-to-end", model_file, frames, backend="onnxruntime", threads=1)
    burst, _ = runtime_peers.end_to_end_burst(options)
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
        (["--vs", "nowhere.onnx"], "there is no file nowhere.onnx"),
        (["--slowest", "3"], "goes with --roofline"),
        (["--device", "orin-nano"], "did you mean 'orin-nano-8gb'?"),
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
    arguments = ["--kind", "torch", "--model", str(model_file), "--frames", "none.npz"]
    counts = {"frames": 1, "bursts": 1, "rounds": 1, "threads": 1}
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        measure(
            {"torch": [*arguments, "--checkpoint", str(broken)]}, **counts, progress=lambda n: None
        )


def test_an_engine_that_is_not_installed_is_named(model_file: Path) -> None:
    options = BenchOptions(model_file, backend="tensorrt", rounds=1, bursts=1, frames=1)
    with pytest.raises(DifferSegError, match=r"(?i)tensorrt"):
        bench(options)
