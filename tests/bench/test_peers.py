"""What ``--vs`` may name, and how it is refused."""

from pathlib import Path

import pytest
from tiny_network import tiny_manifest

from differseg.bench.command import BenchOptions, bench
from differseg.bench.peers import LEVELS, parse_peers
from differseg.engine_sidecar import BuiltFor, EngineSidecar, sidecar_path
from differseg.errors import DifferSegError, InputError
from differseg.file_hash import sha256_of
from differseg.manifest import Manifest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "edge.onnx"
    path.touch()
    (tmp_path / "edge.int8.onnx").touch()
    return path


def test_the_levels_come_first_and_take_the_engine_asked_for(model):
    peers = parse_peers(model, "none", "openvino", "bf16")
    assert [peer.label for peer in peers] == list(LEVELS) == [peer.kind for peer in peers]
    assert {(peer.backend, peer.cpu_precision) for peer in peers} == {("openvino", "bf16")}
    assert parse_peers(model, "", "auto", None) == parse_peers(model, "none", "auto", None)


def test_every_form_of_a_peer(model):
    other = model.with_name("edge.int8.onnx")
    text = f"session,torch, openvino,openvino:bf16,{other},{other}@openvino:f32"
    peers = parse_peers(model, text, "auto", None)[3:]
    assert [(p.label, p.kind, p.model, p.backend, p.cpu_precision) for p in peers] == [
        ("session", "session", model, "auto", None),
        ("torch", "torch", model, "auto", None),
        ("openvino", "engine", model, "openvino", None),
        ("openvino:bf16", "engine", model, "openvino", "bf16"),
        ("edge.int8.onnx", "engine", other, "auto", None),
        ("edge.int8.onnx@openvino:f32", "engine", other, "openvino", "f32"),
    ]
    arguments = peers[-1].arguments(Path("frames.npz"))
    assert arguments == [
        "--kind", "engine", "--model", str(other), "--frames", "frames.npz",
        "--backend", "openvino", "--cpu-precision", "f32",
    ]  # fmt: skip


def test_files_of_one_name_keep_their_folders(model, tmp_path):
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / "edge.int8.onnx"
    twin.touch()
    first = model.with_name("edge.int8.onnx")
    labels = [peer.label for peer in parse_peers(model, f"{first},{twin}", "auto", None)[3:]]
    assert labels == [str(first), str(twin)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tensorflow", "no peer 'tensorflow'; did you mean 'tensorrt'?"),
        ("xyz", "no peer 'xyz'; choose from session, torch, an engine"),
        ("openvin", "did you mean 'openvino'?"),
        ("openvino:int4", "a precision (f32, bf16, f16) goes with openvino"),
        ("onnxruntime:bf16", "goes with openvino alone"),
        ("missing.onnx", "there is no file missing.onnx"),
        ("session,session", "'session' stands there twice"),
        ("engine", "no peer 'engine'"),
    ],
)
def test_mistakes_are_named(model, text, words):
    with pytest.raises(InputError) as error:
        parse_peers(model, text, "auto", None)
    assert words in str(error.value)


def test_an_engine_has_no_peers_that_run_onnx(tmp_path):
    engine = tmp_path / "edge.engine"
    with pytest.raises(InputError, match="runs ONNX files"):
        parse_peers(engine, "torch", "auto", None)


def test_an_engines_levels_need_its_library(tmp_path):
    """A real sidecar: the bench reads it, and the worker says what is not installed."""
    engine = tmp_path / "tiny.engine"
    engine.write_bytes(b"plan")
    manifest = Manifest.from_json(tiny_manifest((64, 96)).to_json())
    built = BuiltFor("tensorrt", "10.3.0", "linux-aarch64", sm="8.7")
    sidecar = EngineSidecar(sha256_of(engine), 4, "0" * 64, built, manifest)
    sidecar_path(engine).write_text(sidecar.to_json())
    options = BenchOptions(engine, rounds=1, bursts=1, frames=1)
    with pytest.raises(DifferSegError, match="TensorRT") as error:
        bench(options)
    assert "\n" not in str(error.value)
