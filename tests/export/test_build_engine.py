"""``differseg build`` with every TensorRT of the contract test-bed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contract.fake_tensorrt.generations import BY_NAME
from contract.install import fake_tensorrt
from contract.installed import install_release
from contract_engines import built_by_worker
from small_network import SIZE_HW
from test_mask_output import feed_of

from differseg.engine_sidecar import sidecar_path
from differseg.errors import CheckFailedError, InputError, MissingComponentError
from differseg.export.build_engine import build_engine
from differseg.export.build_process import find_builder
from differseg.export.engine_plan import EngineSettings
from differseg.export.modelfile import read_model
from differseg.export.precision import typed_half
from differseg.runtime.backends.tensorrt import TensorRtBackend

RELEASE = {
    "8.5": "jetpack5",
    "8.6": "jetpack6.0",
    "10.3": "jetpack6",
    "10.16": "jetpack7",
    "11.4": "trt11.4",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "differseg"


@pytest.fixture(scope="module")
def half_file(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    onnx.save(typed_half(read_model(model_file), [feed_of(SIZE_HW)])[0], path)
    return path


@pytest.mark.parametrize("generation", list(BY_NAME))
@pytest.mark.parametrize("way", ["python", "trtexec"])
def test_every_release_builds_an_engine_that_its_runtime_takes(
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    generation: str,
    way: Any,
) -> None:
    out = tmp_path / "m.engine"
    with monkeypatch.context() as patch:
        install_release(patch, tmp_path / "release", generation, way)
        report = build_engine(model_file, out=out, target=RELEASE[generation])
        assert report.sidecar.tools["builder"] == way
    built = report.sidecar.built_for
    assert built.version.startswith(generation)
    assert (built.sm, built.device) == ("8.7", "Orin")
    with fake_tensorrt(generation) as bed:
        backend = TensorRtBackend(out)
        feed = feed_of(SIZE_HW)
        for name, array in feed.items():
            backend.inputs[name][...] = array
        backend.run()
        assert 0.01 < float(np.ptp(backend.outputs["probability"])) <= 1
        backend.close()
        assert not bed.errors()
        assert not bed.machine.faults


@pytest.mark.parametrize("way", ["python", "trtexec"])
def test_on_8_the_types_of_the_file_become_flags_and_pins(
    half_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    install_release(monkeypatch, tmp_path / "release", "8.6", way)
    report = build_engine(half_file, out=tmp_path / "m.engine")
    assert report.sidecar.options["flags"] == ["FP16"]
    assert not report.sidecar.options["strongly_typed"]


@pytest.mark.parametrize("generation", list(BY_NAME))
def test_what_the_builder_is_told(
    half_file: Path, model_file: Path, tmp_path: Path, generation: str
) -> None:
    """Looked at from the builder's side: the header of the plan that it wrote."""
    with fake_tensorrt(generation) as bed:
        settings = EngineSettings(workspace_mib=64)
        if generation != "8.5":
            settings = EngineSettings(level=4, workspace_mib=64, hardware="ampere+")
        facts = built_by_worker(bed, half_file, tmp_path / "m.engine", settings)
        assert facts[-1]["status"] == "built", facts
        header = bed.world.builds[0]
        assert header["strongly_typed"] == (bed.world.major >= 10)
        if generation != "8.5":
            assert header["optimization_level"] == 4
            assert header["hardware_compatibility"] == "AMPERE_PLUS"
        assert header["profiling"] == "DETAILED"
        assert "TF32" not in header["flags"]  # which every release sets by itself
        if bed.world.major < 10:
            assert "FP16" in header["flags"]
        else:
            assert not {"FP16", "INT8"} & set(header["flags"])
        progress = [fact for fact in facts if "progress" in fact]
        assert bool(progress) == (bed.world.major >= 10)
        assert not bed.errors()


def test_tf32_is_for_those_who_ask(model_file: Path, tmp_path: Path) -> None:
    with fake_tensorrt("10.3") as bed:
        for tf32 in (False, True):
            built_by_worker(bed, model_file, tmp_path / "m.engine", EngineSettings(tf32=tf32))
        assert ["TF32" in header["flags"] for header in bed.world.builds] == [False, True]


def test_pinned_layers_are_told_on_8(half_file: Path, model_file: Path, tmp_path: Path) -> None:
    with fake_tensorrt("8.6") as bed:
        facts = built_by_worker(bed, model_file, tmp_path / "m.engine", EngineSettings(fp16=True))
        assert facts[-1]["status"] == "built", facts
        assert "FP16" in bed.world.builds[0]["flags"]
        pins = [fact["pinned"] for fact in facts if "pinned" in fact]
        named = bed.world.builds[0]["precisions"]
        assert set(named.values()) <= {"FLOAT"}
        assert sum(pins) == len(named)
        if named:
            assert "OBEY_PRECISION_CONSTRAINTS" in bed.world.builds[0]["flags"]


def test_timings_are_kept_for_the_next_build(model_file: Path, tmp_path: Path) -> None:
    timings = tmp_path / "t.cache"
    with fake_tensorrt("10.3") as bed:
        built_by_worker(bed, model_file, tmp_path / "a.engine", timing_cache=timings)
        assert timings.stat().st_size > 0
        assert (bed.world.timing_hits, bed.world.timing_misses > 0) == (0, True)
        misses = bed.world.timing_misses
        built_by_worker(bed, model_file, tmp_path / "b.engine", timing_cache=timings)
        assert bed.world.timing_misses == misses
        timings.write_bytes(b"damaged")
        facts = built_by_worker(bed, model_file, tmp_path / "c.engine", timing_cache=timings)
        assert facts[-1]["status"] == "built"


@pytest.mark.parametrize("way", ["python", "trtexec"])
def test_what_the_parser_refuses_is_one_line(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    """A node that our lint lets through and the parser does not: here a plugin without library."""
    model = read_model(model_file)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain = "DifferSegDwt2", "differseg"
    model.opset_import.append(onnx.helper.make_opsetid("differseg", 1))
    onnx.save(model, tmp_path / "plugin.onnx")
    install_release(monkeypatch, tmp_path / "release", "10.3", way)
    with pytest.raises(CheckFailedError) as refusal:
        build_engine(tmp_path / "plugin.onnx", out=tmp_path / "m.engine")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "plugin.onnx") in str(refusal.value)
    assert not (tmp_path / "m.engine").exists()
    assert not sidecar_path(tmp_path / "m.engine").exists()


def test_the_lint_names_the_node_before_the_builder_is_asked(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model(model_file)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Unique"
    onnx.save(model, tmp_path / "unique.onnx")
    install_release(monkeypatch, tmp_path / "release", "10.3")
    with pytest.raises(CheckFailedError, match=r"TensorRT 10\.3 does not take node 'Relu'"):
        build_engine(tmp_path / "unique.onnx", out=tmp_path / "m.engine")


def test_another_release_than_asked_for_is_refused(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_release(monkeypatch, tmp_path / "release", "10.3")
    with pytest.raises(InputError, match=r"--target jetpack7: .*here is TensorRT 10\.3\.0"):
        build_engine(model_file, out=tmp_path / "m.engine", target="jetpack7")


def test_an_unknown_gpu_is_refused(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar could not say where the engine may run."""
    install_release(monkeypatch, tmp_path / "release", "10.3", gpu=None)
    with pytest.raises(CheckFailedError, match="which GPU this is"):
        build_engine(model_file, out=tmp_path / "m.engine", cache=False)
    assert not (tmp_path / "m.engine").exists()


def test_without_tensorrt_the_way_to_it_is_named(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(MissingComponentError, match="--print-trtexec --target NAME"):
        build_engine(model_file, out=tmp_path / "m.engine")


def test_a_package_that_does_not_load_gives_way_to_trtexec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install_release(monkeypatch, tmp_path / "release", "10.3", "trtexec")
    (folder / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')\n")
    assert find_builder().kind == "trtexec"
    (folder / "trtexec").unlink()
    with pytest.raises(MissingComponentError, match=r"does not start.*libnvinfer\.so\.10"):
        find_builder()


def test_without_a_gpu_the_builder_says_so(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_release(monkeypatch, tmp_path / "release", "10.3", has_device=False)
    with pytest.raises(CheckFailedError, match="no builder without a GPU that CUDA can use"):
        build_engine(model_file, out=tmp_path / "m.engine")


def test_a_builder_that_crashes_is_one_line(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install_release(monkeypatch, tmp_path / "release", "10.3")
    text = (folder / "tensorrt.py").read_text()
    crash = (
        "import os, signal\nBuilder = sys.modules['tensorrt'].Builder\n"
        "Builder.build_serialized_network = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    (folder / "tensorrt.py").write_text(text + crash)
    with pytest.raises(CheckFailedError, match="in stage build: the process ended with SIGSEGV"):
        build_engine(model_file, out=tmp_path / "m.engine")
    assert [path.name for path in tmp_path.glob("m.engine*")] == []


# One build for one key, and interruptions --------------------------------------------------------


def slow_release(monkeypatch: pytest.MonkeyPatch, folder: Path, seconds: float) -> Path:
    """A release whose builder takes its time and writes the process of each build into a file."""
    folder = install_release(monkeypatch, folder, "10.3")
    text = (folder / "tensorrt.py").read_text()
    slow = (
        "import os, time\nBuilder = sys.modules['tensorrt'].Builder\n"
        "build = Builder.build_serialized_network\n"
        "def slow(*arguments):\n"
        f"    with open({str(folder / 'builds')!r}, 'a') as file:\n"
        "        file.write(f'{os.getpid()}\\n')\n"
        f"    time.sleep({seconds})\n"
        "    return build(*arguments)\n"
        "Builder.build_serialized_network = slow\n"
    )
    (folder / "tensorrt.py").write_text(text + slow)
    return folder


def test_two_builds_of_one_key_are_one(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = slow_release(monkeypatch, tmp_path / "release", 1.0)
    reports: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda name=name: reports.append(build_engine(model_file, out=tmp_path / name))
        )
        for name in ("a.engine", "b.engine")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((folder / "builds").read_text().splitlines()) == 1
    assert sorted(report.from_cache for report in reports) == [False, True]
    assert (tmp_path / "a.engine").read_bytes() == (tmp_path / "b.engine").read_bytes()


def test_an_interrupted_build_leaves_nothing_and_loses_nothing(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    folder = slow_release(monkeypatch, tmp_path / "release", 60.0)
    out = tmp_path / "out" / "m.engine"
    out.parent.mkdir()
    out.write_bytes(b"the engine of yesterday")
    command = [sys.executable, "-m", "differseg.export.build_engine", str(model_file), "-o", out]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it for &
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not ((folder / "builds").exists() and (folder / "builds").read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said.decode()
    assert b"Traceback" not in said
    assert [path.name for path in out.parent.iterdir()] == ["m.engine"]
    assert out.read_bytes() == b"the engine of yesterday"
    assert not list(cache.glob("engines/*/*"))
    worker = int((folder / "builds").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


# The command -------------------------------------------------------------------------------------


def test_a_file_without_a_manifest_is_refused(model_file: Path, tmp_path: Path) -> None:
    model = read_model(model_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match="holds no differseg manifest"):
        build_engine(tmp_path / "bare.onnx", target="rtx1")


def test_help_needs_no_heavy_package() -> None:
    code = (
        "import sys\nsys.modules['onnx'] = sys.modules['torch'] = None\n"
        "from differseg.export.build_engine import main\nmain(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--print-trtexec" in done.stdout
