"""The TensorRT backend on four API generations and both bindings, against the contract test-bed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contract.fake_tensorrt.registry import write_plugin_library
from contract.fixtures import tensorrt_bed, tensorrt_generation  # noqa: F401
from contract.install import Bed, fake_tensorrt
from contract_engines import engine_of, write_sidecar
from test_engine_file import mutated
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.engine_sidecar import EngineSidecar, sidecar_path
from differseg.errors import (
    CheckFailedError,
    DifferSegError,
    InputError,
    MissingComponentError,
    ModelFileError,
)
from differseg.export.parity import parity
from differseg.manifest import Manifest
from differseg.runtime.backends import open_backend
from differseg.runtime.backends.tensorrt import SLOTS, TensorRtBackend
from differseg.runtime.cuda import open_cuda
from differseg.runtime.segmenter import Segmenter
from differseg.signing import load_key

BINDINGS = ("cuda-python", "cuda-python-old", "pycuda")


@pytest.fixture
def bed() -> Iterator[Bed]:
    """JetPack 6 on an Orin."""
    with fake_tensorrt("10.3") as found:
        yield found
        assert not found.machine.faults


def expected(red: int, heat: float) -> float:
    """What the tiny network gives."""
    return 0.6 * red / 255 + 0.25 * heat


def fill(inputs: dict[str, np.ndarray], red: int, heat: float) -> None:
    inputs["rgb"][:] = (red, 7, 0)
    inputs["thermal"][:] = heat


def test_every_generation_computes(
    tensorrt_bed: Bed,  # noqa: F811
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    backend = TensorRtBackend(engine_of(tensorrt_bed, tiny_model, tmp_path))
    output = backend.outputs["probability"]
    for red, heat in ((255, 0.0), (0, 1.0), (255, 1.0)):
        fill(backend.inputs, red, heat)
        backend.run()
        assert backend.outputs["probability"] is output  # the same memory at every call
        assert np.allclose(output, expected(red, heat), atol=1e-6)
    assert backend.manifest.model == "tiny"
    backend.close()
    assert tensorrt_bed.machine.left() == {}
    assert not tensorrt_bed.machine.faults
    assert not tensorrt_bed.errors()


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("integrated", [True, False], ids=["jetson", "desktop"])
def test_every_binding_computes(
    tiny_model: Path, tmp_path: Path, binding: Any, integrated: bool
) -> None:
    sm = (8, 7) if integrated else (8, 9)
    with fake_tensorrt("10.3", binding=binding, integrated=integrated, sm=sm) as bed:
        backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
        for red in (10, 200):
            fill(backend.inputs, red, 0.5)
            backend.run()
            assert np.allclose(backend.outputs["probability"], expected(red, 0.5), atol=1e-6)
        graphs = binding != "pycuda"
        assert (bed.machine.graph_launches == 2) == graphs
        memory = "memory shared with the GPU" if integrated else "page-locked buffers"
        assert memory in backend.reason
        assert ("CUDA graph" if graphs else "no CUDA graph (pycuda") in backend.reason
        backend.close()
        assert bed.machine.left() == {}
        assert not bed.machine.faults


@pytest.mark.parametrize(
    ("generation", "binding"),
    [("8.5", "cuda-python-old"), ("8.5", "pycuda"), ("8.6", "cuda-python-old"), ("11.4", "both")],
)
def test_older_and_newer_pairs_of_release_and_binding(
    tiny_model: Path, tmp_path: Path, generation: str, binding: Any
) -> None:
    """CUDA 11.8's and 13's spellings of a graph's instantiation among them."""
    with fake_tensorrt(generation, binding=binding) as bed:
        backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
        fill(backend.inputs, 90, 0.5)
        backend.run()
        assert np.allclose(backend.outputs["probability"], expected(90, 0.5), atol=1e-6)
        assert ("; cuda-python" in backend.reason) == (binding != "pycuda")
        assert bed.machine.graph_launches == (binding != "pycuda")
        backend.close()
        assert bed.machine.left() == {}
        assert not bed.machine.faults


def test_another_thread_may_allocate_while_a_launch_is_captured(
    bed: Bed, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second camera's model is opened meanwhile, for instance."""
    cuda = open_cuda()
    begin, addresses = cuda.begin_capture, []

    def with_company(stream: Any) -> None:
        begin(stream)
        thread = threading.Thread(target=lambda: addresses.append(cuda.allocate(512)))
        thread.start()
        thread.join()

    monkeypatch.setattr(cuda, "begin_capture", with_company)
    backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path), cuda=cuda)
    assert len(addresses) == SLOTS
    assert "no CUDA graph" not in backend.reason
    backend.close()


@pytest.mark.parametrize("integrated", [True, False], ids=["jetson", "desktop"])
def test_two_frames_are_on_their_way_at_once(
    tiny_model: Path, tmp_path: Path, integrated: bool
) -> None:
    """The streams of the test-bed run late: a buffer used too early would show."""
    with fake_tensorrt("10.16", integrated=integrated) as bed:
        backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
        reds = [0, 50, 100, 150, 200, 250]
        for number, red in enumerate(reds):
            index = number % SLOTS
            if number >= SLOTS:
                backend.finish(index)
                found = backend.slots[index].outputs["probability"]
                assert np.allclose(found, expected(reds[number - SLOTS], 0.2), atol=1e-6)
            fill(backend.slots[index].inputs, red, 0.2)
            backend.start(index)
        for number in (len(reds) - 2, len(reds) - 1):
            backend.finish(number % SLOTS)
            found = backend.slots[number % SLOTS].outputs["probability"]
            assert np.allclose(found, expected(reds[number], 0.2), atol=1e-6)
        backend.close()
        assert not bed.machine.faults


def test_nothing_is_copied_on_a_jetson(tiny_model: Path, tmp_path: Path) -> None:
    for integrated in (True, False):
        with fake_tensorrt("10.3", integrated=integrated) as bed:
            backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
            slot = backend.slots[0]
            host = {name: array.ctypes.data for name, array in slot.inputs.items()}
            assert (slot.addresses["rgb"] == host["rgb"]) == integrated
            assert all(address % 256 == 0 for address in slot.addresses.values())
            backend.close()


def test_the_launch_is_captured_once_for_each_slot(bed: Bed, tiny_model: Path, tmp_path: Path):
    backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
    enqueues = bed.world.enqueues
    for _ in range(5):
        backend.run()
    assert bed.world.enqueues == enqueues  # only graphs from here on
    assert bed.machine.graph_launches == 5
    backend.close()
    without = TensorRtBackend(tmp_path / "model.engine", graphs=False)
    without.run()
    assert bed.machine.graph_launches == 5
    assert "no CUDA graph (not asked for)" in without.reason
    without.close()


def test_a_launch_that_cannot_be_captured_is_made_each_time(
    bed: Bed, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins may do what a capture forbids."""
    cuda = open_cuda()

    def refuse(stream: Any) -> Any:
        bed.machine.end_capture(bed.machine.stream(int(stream)))
        raise DifferSegError("CUDA: cudaStreamEndCapture failed: operation not permitted")

    monkeypatch.setattr(cuda, "end_capture", refuse)
    backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path), cuda=cuda)
    fill(backend.inputs, 100, 0.5)
    backend.run()
    assert np.allclose(backend.outputs["probability"], expected(100, 0.5), atol=1e-6)
    assert bed.machine.graph_launches == 0
    assert "no CUDA graph (CUDA: cudaStreamEndCapture failed" in backend.reason
    backend.close()


def dynamic_model(folder: Path) -> Path:
    """The tiny network with free height and width."""
    model, manifest = tiny_onnx(), tiny_manifest()
    for value in (*model.graph.input, *model.graph.output):
        for place, extent in enumerate(value.type.tensor_type.shape.dim):
            if extent.dim_value in (16, 24):
                extent.dim_param = {16: "height", 24: "width"}[extent.dim_value]
                assert place > 0
    del model.graph.value_info[:]

    def freed(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-1 if size in (16, 24) else size for size in shape)

    inputs = tuple(replace(spec, shape=freed(spec.shape)) for spec in manifest.inputs)
    outputs = tuple(replace(spec, shape=freed(spec.shape)) for spec in manifest.outputs)
    return write_model(
        folder / "dynamic.onnx", model, replace(manifest, inputs=inputs, outputs=outputs)
    )


def test_another_shape_gets_new_buffers_and_graphs(bed: Bed, tmp_path: Path) -> None:
    backend = TensorRtBackend(engine_of(bed, dynamic_model(tmp_path), tmp_path))
    assert backend.inputs["rgb"].shape == (1, 256, 256, 3)  # the size that it is tuned for
    backend.run()
    backend.reshape({"rgb": (1, 320, 448, 3), "thermal": (1, 1, 320, 448)})
    assert backend.outputs["probability"].shape == (1, 1, 320, 448)
    fill(backend.inputs, 200, 0.1)
    launches = bed.machine.graph_launches
    backend.run()
    assert bed.machine.graph_launches == launches + 1
    assert np.allclose(backend.outputs["probability"], expected(200, 0.1), atol=1e-6)
    with pytest.raises(InputError, match="does not take the shape"):
        backend.reshape({"rgb": (1, 2000, 448, 3)})
    with pytest.raises(InputError, match="no input 'depth'"):
        backend.reshape({"depth": (1, 1, 4, 4)})
    backend.close()
    assert bed.machine.memory.used == 0
    bed.world.messages.clear()


def test_closing_gives_everything_back_and_running_after_it_is_one_line(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
    backend.close()
    backend.close()
    assert bed.machine.memory.used == 0
    for call in (backend.run, lambda: backend.finish(0), lambda: backend.reshape({})):
        with pytest.raises(DifferSegError, match="closed; open it again"):
            call()


@pytest.mark.parametrize("binding", ["cuda-python", "pycuda"])
def test_it_runs_in_another_thread_than_it_was_opened_in(
    tiny_model: Path, tmp_path: Path, binding: Any
) -> None:
    with fake_tensorrt("10.3", binding=binding) as bed:
        backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
        fill(backend.inputs, 30, 0.5)
        thread = threading.Thread(target=backend.run)
        thread.start()
        thread.join()
        assert np.allclose(backend.outputs["probability"], expected(30, 0.5), atol=1e-6)
        backend.close()
        assert not bed.machine.faults


# What must not be loaded ------------------------------------------------------------------------


def test_a_thousand_mutations_never_reach_deserialisation(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine, rng = engine_of(bed, tiny_model, tmp_path), random.Random(4)
    cuda = open_cuda()
    for _ in range(1000):
        path = rng.choice((engine, sidecar_path(engine)))
        good = path.read_bytes()
        bad = mutated(good, rng)
        path.write_bytes(bad if bad != good else good + b"x")
        with pytest.raises(DifferSegError) as refusal:
            TensorRtBackend(engine, cuda=cuda)
        assert "\n" not in str(refusal.value)
        path.write_bytes(good)
    assert bed.world.deserialisations == 0
    TensorRtBackend(engine, cuda=cuda).close()
    assert bed.world.deserialisations == 1


def test_an_engine_of_another_release_or_gpu_never_reaches_deserialisation(
    tiny_model: Path, tmp_path: Path
) -> None:
    with fake_tensorrt("8.6") as bed:
        engine = engine_of(bed, tiny_model, tmp_path)
    with fake_tensorrt("10.3") as bed:
        with pytest.raises(ModelFileError, match=r"built by TensorRT 8\.6\.1, here is 10\.3\.0"):
            TensorRtBackend(engine)
        assert bed.world.deserialisations == 0
    with fake_tensorrt("8.6", sm=(7, 2)) as bed:
        with pytest.raises(ModelFileError, match=r"SM 8\.7 \(Orin\), the one here is SM 7\.2"):
            TensorRtBackend(engine)
        assert bed.world.deserialisations == 0


def test_with_a_key_an_unsigned_engine_never_reaches_deserialisation(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "k").write_bytes(b"k" * 32)
    key = load_key(tmp_path / "k")
    engine = engine_of(bed, tiny_model, tmp_path)
    with pytest.raises(CheckFailedError, match="not signed"):
        TensorRtBackend(engine, key=key)
    assert bed.world.deserialisations == 0
    write_sidecar(bed, tiny_model, engine, key=key)
    TensorRtBackend(engine, key=key).close()


def test_an_engine_that_lies_about_itself_is_refused(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    """The hash is right and the manifest another network's: our own mistake, caught as well."""
    engine = engine_of(bed, tiny_model, tmp_path)
    sidecar = EngineSidecar.from_json(sidecar_path(engine).read_text())
    outputs = (replace(sidecar.manifest.outputs[0], name="other"),)
    lie = replace(sidecar, manifest=replace(sidecar.manifest, outputs=outputs))
    sidecar_path(engine).write_text(lie.to_json())
    with pytest.raises(ModelFileError, match="outputs are probability float32, the manifest says"):
        TensorRtBackend(engine)


def test_an_engine_that_tensorrt_refuses_is_one_line(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine = engine_of(bed, tiny_model, tmp_path)
    data = engine.read_bytes()
    engine.write_bytes(b"no engine at all" + data[16:])
    write_sidecar(bed, tiny_model, engine)
    with pytest.raises(ModelFileError, match="TensorRT cannot load it") as refusal:
        TensorRtBackend(engine)
    assert "\n" not in str(refusal.value)
    assert bed.world.deserialisations == 1


# What it needs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["8.6", "10.3", "11.4"])
def test_memory_that_does_not_suffice_is_said_with_figures(
    tiny_model: Path, tmp_path: Path, generation: str
) -> None:
    with fake_tensorrt(generation) as bed:
        engine = engine_of(bed, tiny_model, tmp_path)
        size = engine.stat().st_size
        TensorRtBackend(engine).close()
        whole = bed.machine.memory.free
    messages = set()
    for left in (size // 2, size + 512, size + 4096, size + 6000):
        with fake_tensorrt(generation, integrated=False, memory_bytes=left) as bed:
            with pytest.raises(DifferSegError, match=r"not enough memory.*free") as refusal:
                TensorRtBackend(engine)
            messages.add(str(refusal.value).partition("not enough memory")[2][:20])
            del refusal  # its traceback holds what was made
            assert bed.machine.left() == {}, left
    assert len(messages) >= 2  # in more than one place
    assert whole > 0


@pytest.mark.parametrize(
    ("binding", "has_device", "expected_text"),
    [
        (None, True, r"no Python binding of CUDA.*differseg\[tensorrt\]"),
        ("cuda-python", False, "no GPU that CUDA can use"),
        ("pycuda", False, "no GPU that CUDA can use"),
    ],
)
def test_what_is_missing_is_named(
    tiny_model: Path, tmp_path: Path, binding: Any, has_device: bool, expected_text: str
) -> None:
    with fake_tensorrt("10.3") as bed:
        engine = engine_of(bed, tiny_model, tmp_path)
    with (
        fake_tensorrt("10.3", binding=binding, has_device=has_device),
        pytest.raises(MissingComponentError, match=expected_text),
    ):
        TensorRtBackend(engine)


def test_without_tensorrt_the_package_is_named(tiny_model: Path, tmp_path: Path) -> None:
    with fake_tensorrt("10.3") as bed:
        engine = engine_of(bed, tiny_model, tmp_path)
    with (
        fake_tensorrt("10.3", module="tensorrt_rtx"),
        pytest.raises(MissingComponentError, match="Python package 'tensorrt' cannot be loaded"),
    ):
        TensorRtBackend(engine)


def test_an_engine_of_tensorrt_rtx_is_run_by_it(tiny_model: Path, tmp_path: Path) -> None:
    with fake_tensorrt("11.4", module="tensorrt_rtx", integrated=False, sm=(8, 9)) as bed:
        engine = engine_of(bed, tiny_model, tmp_path, sm=None, device=None)
        backend = TensorRtBackend(engine)
        fill(backend.inputs, 30, 0.5)
        backend.run()
        assert np.allclose(backend.outputs["probability"], expected(30, 0.5), atol=1e-6)
        assert backend.name.startswith("tensorrt_rtx NVIDIA")
        backend.close()


def plugin_model(folder: Path) -> Path:
    """The tiny network with its sum made by a plugin."""
    model = tiny_onnx()
    last = model.graph.node[-1]
    assert last.op_type == "Add"
    last.op_type, last.domain = "DifferSegSum", "differseg"
    model.opset_import.append(onnx.helper.make_opsetid("differseg", 1))
    return write_model(folder / "plugin.onnx", model, tiny_manifest())


def plugin_library(path: Path) -> Path:
    node = onnx.helper.make_node("Add", ["a", "b"], ["y"])
    opset = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function(
        "differseg", "DifferSegSum", ["a", "b"], ["y"], [node], opset
    )
    return write_plugin_library(path, {"DifferSegSum": function})


@pytest.mark.parametrize("generation", ["10.3", "10.16", "11.4"])
def test_its_plugin_library_is_loaded_first(tmp_path: Path, generation: str) -> None:
    model, library = plugin_model(tmp_path), plugin_library(tmp_path / "libp.so")
    with fake_tensorrt(generation) as bed:
        engine = engine_of(bed, model, tmp_path, plugins=[library])
    with fake_tensorrt(generation) as bed:  # another process: nothing is loaded yet
        backend = TensorRtBackend(engine)
        fill(backend.inputs, 60, 0.5)
        backend.run()
        assert np.allclose(backend.outputs["probability"], expected(60, 0.5), atol=1e-6)
        backend.close()
    with fake_tensorrt(generation) as bed:
        write_sidecar(bed, model, engine)  # without the plugin
        with pytest.raises(ModelFileError, match=r"plugin library that is not loaded.*--plugin"):
            TensorRtBackend(engine)


def test_a_version_compatible_engine_may_run_its_own_code(tiny_model: Path, tmp_path: Path) -> None:
    with fake_tensorrt("10.3") as bed:
        engine = engine_of(bed, tiny_model, tmp_path, version_compatible=True)
    with fake_tensorrt("10.16") as bed:
        backend = TensorRtBackend(engine)
        fill(backend.inputs, 60, 0.5)
        backend.run()
        assert np.allclose(backend.outputs["probability"], expected(60, 0.5), atol=1e-6)
        backend.close()
        assert not bed.errors()


# Within the runtime -----------------------------------------------------------------------------


def test_the_segmenter_takes_an_engine_file(bed: Bed, tiny_model: Path, tmp_path: Path) -> None:
    engine = engine_of(bed, tiny_model, tmp_path)
    rng = np.random.default_rng(0)
    frames = {
        "rgb": rng.integers(0, 256, (40, 60, 3), np.uint8),
        "thermal": rng.integers(29_000, 31_000, (40, 60), np.uint16),
    }
    with Segmenter(engine) as on_gpu, Segmenter(tiny_model, backend="onnxruntime") as on_cpu:
        assert on_gpu.backend.name == "tensorrt Orin"
        assert "the file is an engine" in on_gpu.backend.reason
        masks = [segmenter(**frames).mask.copy() for segmenter in (on_gpu, on_cpu)]
    assert np.array_equal(*masks)
    assert 0 < masks[0].mean() < 1


@pytest.mark.parametrize("integrated", [True, False], ids=["jetson", "desktop"])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_overlapped_frames_give_what_single_ones_give(
    tiny_model: Path, tmp_path: Path, integrated: bool, count: int
) -> None:
    rng = np.random.default_rng(1)
    frames = [
        {
            "rgb": rng.integers(0, 256, (20 + number, 30, 3), np.uint8),
            "thermal": rng.integers(29_000, 31_000, (20 + number, 30), np.uint16),
        }
        for number in range(count)
    ]
    with fake_tensorrt("10.3", integrated=integrated) as bed:
        with Segmenter(engine_of(bed, tiny_model, tmp_path)) as segmenter:
            single = [segmenter(**frame).copy() for frame in frames]
            overlapped = [result.copy() for result in segmenter.overlapped(frames)]
        assert not bed.machine.faults
    assert len(overlapped) == count
    for one, other in zip(single, overlapped, strict=True):
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.probability, other.probability)
        assert one.coverage == other.coverage
    with Segmenter(tiny_model, backend="onnxruntime") as plain:
        again = [result.copy() for result in plain.overlapped(frames)]
    assert [np.array_equal(a.mask, b.mask) for a, b in zip(single, again, strict=True)] == (
        [True] * count
    )


def test_nan_is_told(bed: Bed, tiny_model: Path, tmp_path: Path) -> None:
    with Segmenter(engine_of(bed, tiny_model, tmp_path)) as segmenter:
        thermal = np.full((16, 24), 30_000, np.uint16)
        segmenter(rgb=np.zeros((16, 24, 3), np.uint8), thermal=thermal)
        backend: Any = segmenter.backend
        start = backend.start

        def poisoned(index: int) -> None:
            backend.slots[index].inputs["thermal"][0, 0, 3, 4] = np.nan
            start(index)

        backend.start = poisoned
        with pytest.raises(CheckFailedError, match="NaN or infinity"):
            segmenter(rgb=np.zeros((16, 24, 3), np.uint8), thermal=thermal)


def test_parity_takes_only_engines_of_the_key(bed: Bed, tiny_model: Path, tmp_path: Path) -> None:
    for name in ("k", "other"):
        (tmp_path / name).write_bytes(name.encode() * 32)
    engine = engine_of(bed, tiny_model, tmp_path, key=load_key(tmp_path / "k"))
    assert parity(tiny_model, engine, limit=1, engine_key=tmp_path / "k").passed
    with pytest.raises(CheckFailedError, match="not of this key"):
        parity(tiny_model, engine, limit=1, engine_key=tmp_path / "other")
    with pytest.raises(InputError, match="neither side is an engine"):
        parity(tiny_model, tiny_model, limit=1, engine_key=tmp_path / "k")


def test_a_named_backend_for_the_wrong_file_is_refused(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine = engine_of(bed, tiny_model, tmp_path)
    with pytest.raises(ModelFileError, match="--backend tensorrt reads"):
        open_backend(tiny_model, "tensorrt")
    with pytest.raises(ModelFileError, match="--backend onnxruntime reads"):
        open_backend(engine, "onnxruntime")


def test_the_manifest_of_an_engine_is_the_models(
    bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
    assert isinstance(backend.manifest, Manifest)
    assert backend.manifest == tiny_manifest()
    backend.close()
