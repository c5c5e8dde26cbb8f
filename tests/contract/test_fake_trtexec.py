"""The fake trtexec takes the options of its release and builds with the fake of that release."""

from __future__ import annotations

import subprocess
from pathlib import Path

import onnx
import pytest
from contract.building import engine_of
from contract.fake_tensorrt.generations import GENERATIONS
from contract.fake_trtexec import banner_number, main, plan_header, write_trtexec
from contract.install import fake_tensorrt
from contract.small_models import HALF, doubled, quantized

ALL = "8.6 10.3 10.16 11.4"
OPTIONS = [  # option, releases that take it (samples/common/sampleOptions.cpp at each tag)
    ("--onnx", ALL),
    ("--saveEngine", ALL),
    ("--fp16", "8.6 10.3 10.16"),
    ("--int8", "8.6 10.3 10.16"),
    ("--stronglyTyped", "10.3 10.16 11.4"),
    ("--workspace", "8.6"),
    ("--buildOnly", "8.6"),
    ("--explicitBatch", "8.6"),
    ("--memPoolSize", ALL),
    ("--skipInference", ALL),
    ("--builderOptimizationLevel", ALL),
    ("--layerPrecisions", "8.6 10.3 10.16"),
    ("--getPlanVersionOnly", "10.3 10.16 11.4"),
    ("--tilingOptimizationLevel", "10.16 11.4"),
    ("--noCudaGraph", "11.4"),
    ("--useCudaGraph", ALL),
    ("--timingCacheFile", ALL),
]


def run(tmp_path: Path, generation: str, *words: str) -> int:
    """Run it in this process."""
    return main([f"--onnx={tmp_path / 'm.onnx'}", *words], generation, {})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    onnx.save(doubled(), tmp_path / "m.onnx")
    return tmp_path / "m.engine"


@pytest.mark.parametrize(("option", "having"), OPTIONS)
def test_options_of_each_release(option: str, having: str) -> None:
    taken = [name for name, each in GENERATIONS.items() if option in each.surface["trtexec"]]
    assert " ".join(taken) == having


def test_the_program_as_a_program(saved: Path, tmp_path: Path) -> None:
    program = write_trtexec(tmp_path, "10.3", sm=(8, 6), integrated=False)
    words = [f"--onnx={tmp_path / 'm.onnx'}", f"--saveEngine={saved}", "--stronglyTyped"]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec")
    assert "&&&& PASSED" in done.stdout
    assert plan_header(saved)["sm"] == [8, 6]


def test_what_it_builds_can_be_loaded(saved: Path, tmp_path: Path) -> None:
    for generation in GENERATIONS:
        assert run(tmp_path, generation, f"--saveEngine={saved}") == 0
        with fake_tensorrt(generation) as bed:
            assert engine_of(bed, saved.read_bytes()) is not None


def test_unknown_options_fail(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "11.4", f"--saveEngine={saved}", "--fp16") == 1
    assert run(tmp_path, "10.3", f"--saveEngine={saved}", "--workspace=64") == 1
    assert not saved.exists()
    shown = capsys.readouterr()
    assert "Unknown option: --fp16" in shown.err
    assert "&&&& FAILED TensorRT.trtexec [TensorRT v110401]" in shown.out


@pytest.mark.parametrize(
    "words",
    [
        ["--builderOptimizationLevel=high"],
        ["--memPoolSize=workspce:64"],
        ["--memPoolSize=workspace:lots"],
        ["--profilingVerbosity=loud"],
        ["--hardwareCompatibilityLevel=turing+"],
        ["--loadEngine=m.engine"],
        ["--minShapes=x:1x2xAx4"],
    ],
    ids=" ".join,
)
def test_wrong_values_fail(saved: Path, tmp_path: Path, words: list[str]) -> None:
    assert run(tmp_path, "10.3", f"--saveEngine={saved}", *words) == 1
    assert not saved.exists()


def test_options_reach_the_plan(saved: Path, tmp_path: Path) -> None:
    onnx.save(doubled(height="h"), tmp_path / "m.onnx")
    shapes = [f"--{key}Shapes=x:1x2x{n}x4" for key, n in (("min", 2), ("opt", 4), ("max", 8))]
    cache = tmp_path / "timing.cache"
    words = [
        *shapes,
        "--fp16",
        "--memPoolSize=workspace:64",
        "--builderOptimizationLevel=4",
        "--hardwareCompatibilityLevel=ampere+",
        "--versionCompatible",
        "--excludeLeanRuntime",
        "--profilingVerbosity=detailed",
        "--noTF32",
        "--precisionConstraints=obey",
        "--layerPrecisions=relu:fp32",
        f"--timingCacheFile={cache}",
    ]
    assert run(tmp_path, "8.6", f"--saveEngine={saved}", *words) == 0
    header = plan_header(saved)
    assert header["flags"] == [
        "EXCLUDE_LEAN_RUNTIME",
        "FP16",
        "OBEY_PRECISION_CONSTRAINTS",
        "VERSION_COMPATIBLE",
    ]
    assert header["pools"] == {"WORKSPACE": 64 << 20}
    assert header["hardware_compatibility"] == "AMPERE_PLUS"
    assert header["profiles"][0]["x"]["max"] == [1, 2, 8, 4]
    assert header["precisions"] == {"relu": "FLOAT"}
    assert (header["optimization_level"], header["profiling"]) == (4, "DETAILED")
    assert cache.stat().st_size > 0


def test_typed_builds_drop_precision_options_with_a_warning(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(doubled(elem=HALF), tmp_path / "m.onnx")
    assert run(tmp_path, "10.16", f"--saveEngine={saved}", "--stronglyTyped", "--fp16") == 0
    assert "Disabling BuilderFlag::kFP16" in capsys.readouterr().out


def test_a_failed_build_fails(saved: Path, tmp_path: Path) -> None:
    onnx.save(quantized(), tmp_path / "m.onnx")
    assert run(tmp_path, "8.6", f"--saveEngine={saved}") == 1
    assert run(tmp_path, "8.6", f"--saveEngine={saved}", "--int8") == 0
    (tmp_path / "m.onnx").write_bytes(b"rubbish")
    assert run(tmp_path, "8.6") == 1


def test_the_number_in_the_banner() -> None:
    assert banner_number((8, 6, 1)) == "v8601"
    assert banner_number((10, 16, 0, 72)) == "v101600"
