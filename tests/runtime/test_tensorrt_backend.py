"""The TensorRT backend on four API generations and both bindings, against the contract test-bed."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.fixtures import tensorrt_bed, tensorrt_generation  # noqa: F401
from contract.install import Bed, fake_tensorrt
from contract_engines import engine_of
from tiny_network import (
    fill_evenly,
    tiny_even_probability,
    tiny_manifest,
    tiny_onnx,
    write_model,
)

from differseg.errors import (
    DifferSegError,
    InputError,
)
from differseg.runtime.backends.tensorrt import SLOTS, TensorRtBackend
from differseg.runtime.cuda import open_cuda

BINDINGS = ("cuda-python", "cuda-python-old", "pycuda")


def test_every_generation_computes(
    tensorrt_bed: Bed,  # noqa: F811
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    backend = TensorRtBackend(engine_of(tensorrt_bed, tiny_model, tmp_path))
    output = backend.outputs["probability"]
    for red, heat in ((255, 0.0), (0, 1.0), (255, 1.0)):
        fill_evenly(backend.inputs, red, heat)
        backend.run()
        assert backend.outputs["probability"] is output  # the same memory at every call
        assert np.allclose(output, tiny_even_probability(red, heat), atol=1e-6)
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
            fill_evenly(backend.inputs, red, 0.5)
            backend.run()
            assert np.allclose(
                backend.outputs["probability"], tiny_even_probability(red, 0.5), atol=1e-6
            )
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
        fill_evenly(backend.inputs, 90, 0.5)
        backend.run()
        assert np.allclose(
            backend.outputs["probability"], tiny_even_probability(90, 0.5), atol=1e-6
        )
        assert ("; cuda-python" in backend.reason) == (binding != "pycuda")
        assert bed.machine.graph_launches == (binding != "pycuda")
        backend.close()
        assert bed.machine.left() == {}
        assert not bed.machine.faults


def test_another_thread_may_allocate_while_a_launch_is_captured(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    backend = TensorRtBackend(engine_of(orin_bed, tiny_model, tmp_path), cuda=cuda)
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
                assert np.allclose(
                    found, tiny_even_probability(reds[number - SLOTS], 0.2), atol=1e-6
                )
            fill_evenly(backend.slots[index].inputs, red, 0.2)
            backend.start(index)
        for number in (len(reds) - 2, len(reds) - 1):
            backend.finish(number % SLOTS)
            found = backend.slots[number % SLOTS].outputs["probability"]
            assert np.allclose(found, tiny_even_probability(reds[number], 0.2), atol=1e-6)
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


def test_the_launch_is_captured_once_for_each_slot(orin_bed: Bed, tiny_model: Path, tmp_path: Path):
    backend = TensorRtBackend(engine_of(orin_bed, tiny_model, tmp_path))
    enqueues = orin_bed.world.enqueues
    for _ in range(5):
        backend.run()
    assert orin_bed.world.enqueues == enqueues  # only graphs from here on
    assert orin_bed.machine.graph_launches == 5
    backend.close()
    without = TensorRtBackend(tmp_path / "model.engine", graphs=False)
    without.run()
    assert orin_bed.machine.graph_launches == 5
    assert "no CUDA graph (not asked for)" in without.reason
    without.close()


def test_a_launch_that_cannot_be_captured_is_made_each_time(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins may do what a capture forbids."""
    cuda = open_cuda()

    def refuse(stream: Any) -> Any:
        orin_bed.machine.end_capture(orin_bed.machine.stream(int(stream)))
        raise DifferSegError("CUDA: cudaStreamEndCapture failed: operation not permitted")

    monkeypatch.setattr(cuda, "end_capture", refuse)
    backend = TensorRtBackend(engine_of(orin_bed, tiny_model, tmp_path), cuda=cuda)
    fill_evenly(backend.inputs, 100, 0.5)
    backend.run()
    assert np.allclose(backend.outputs["probability"], tiny_even_probability(100, 0.5), atol=1e-6)
    assert orin_bed.machine.graph_launches == 0
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


def test_another_shape_gets_new_buffers_and_graphs(orin_bed: Bed, tmp_path: Path) -> None:
    backend = TensorRtBackend(engine_of(orin_bed, dynamic_model(tmp_path), tmp_path))
    assert backend.inputs["rgb"].shape == (1, 256, 256, 3)  # the size that it is tuned for
    backend.run()
    backend.reshape({"rgb": (1, 320, 448, 3), "thermal": (1, 1, 320, 448)})
    assert backend.outputs["probability"].shape == (1, 1, 320, 448)
    fill_evenly(backend.inputs, 200, 0.1)
    launches = orin_bed.machine.graph_launches
    backend.run()
    assert orin_bed.machine.graph_launches == launches + 1
    assert np.allclose(backend.outputs["probability"], tiny_even_probability(200, 0.1), atol=1e-6)
    with pytest.raises(InputError, match="does not take the shape"):
        backend.reshape({"rgb": (1, 2000, 448, 3)})
    with pytest.raises(InputError, match="no input 'depth'"):
        backend.reshape({"depth": (1, 1, 4, 4)})
    backend.close()
    assert orin_bed.machine.memory.used == 0
    orin_bed.world.messages.clear()


def test_closing_gives_everything_back_and_running_after_it_is_one_line(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    backend = TensorRtBackend(engine_of(orin_bed, tiny_model, tmp_path))
    backend.close()
    backend.close()
    assert orin_bed.machine.memory.used == 0
    for call in (backend.run, lambda: backend.finish(0), lambda: backend.reshape({})):
        with pytest.raises(DifferSegError, match="closed; open it again"):
            call()


@pytest.mark.parametrize("binding", ["cuda-python", "pycuda"])
def test_it_runs_in_another_thread_than_it_was_opened_in(
    tiny_model: Path, tmp_path: Path, binding: Any
) -> None:
    with fake_tensorrt("10.3", binding=binding) as bed:
        backend = TensorRtBackend(engine_of(bed, tiny_model, tmp_path))
        fill_evenly(backend.inputs, 30, 0.5)
        thread = threading.Thread(target=backend.run)
        thread.start()
        thread.join()
        assert np.allclose(
            backend.outputs["probability"], tiny_even_probability(30, 0.5), atol=1e-6
        )
        backend.close()
        assert not bed.machine.faults
