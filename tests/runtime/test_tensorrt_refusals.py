"""Engines that the TensorRT backend must not load, and what it says where something is missing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contract.fake_tensorrt.registry import write_plugin_library
from contract.install import Bed, fake_tensorrt
from contract_engines import engine_of, write_sidecar
from test_engine_file import mutated
from tiny_network import (
    fill_evenly,
    tiny_even_probability,
    tiny_manifest,
    tiny_onnx,
    write_model,
)

from differseg.engine_sidecar import EngineSidecar, sidecar_path
from differseg.errors import (
    CheckFailedError,
    DifferSegError,
    MissingComponentError,
    ModelFileError,
)
from differseg.runtime.backends.tensorrt import TensorRtBackend
from differseg.runtime.cuda import open_cuda
from differseg.signing import load_key


def test_a_thousand_mutations_never_reach_deserialisation(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine, rng = engine_of(orin_bed, tiny_model, tmp_path), random.Random(4)
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
    assert orin_bed.world.deserialisations == 0
    TensorRtBackend(engine, cuda=cuda).close()
    assert orin_bed.world.deserialisations == 1


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
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "k").write_bytes(b"k" * 32)
    key = load_key(tmp_path / "k")
    engine = engine_of(orin_bed, tiny_model, tmp_path)
    with pytest.raises(CheckFailedError, match="not signed"):
        TensorRtBackend(engine, key=key)
    assert orin_bed.world.deserialisations == 0
    write_sidecar(orin_bed, tiny_model, engine, key=key)
    TensorRtBackend(engine, key=key).close()


def test_an_engine_that_lies_about_itself_is_refused(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    """The hash is right and the manifest another network's: our own mistake, caught as well."""
    engine = engine_of(orin_bed, tiny_model, tmp_path)
    sidecar = EngineSidecar.from_json(sidecar_path(engine).read_text())
    outputs = (replace(sidecar.manifest.outputs[0], name="other"),)
    lie = replace(sidecar, manifest=replace(sidecar.manifest, outputs=outputs))
    sidecar_path(engine).write_text(lie.to_json())
    with pytest.raises(ModelFileError, match="outputs are probability float32, the manifest says"):
        TensorRtBackend(engine)


def test_an_engine_that_tensorrt_refuses_is_one_line(
    orin_bed: Bed, tiny_model: Path, tmp_path: Path
) -> None:
    engine = engine_of(orin_bed, tiny_model, tmp_path)
    data = engine.read_bytes()
    engine.write_bytes(b"no engine at all" + data[16:])
    write_sidecar(orin_bed, tiny_model, engine)
    with pytest.raises(ModelFileError, match="TensorRT cannot load it") as refusal:
        TensorRtBackend(engine)
    assert "\n" not in str(refusal.value)
    assert orin_bed.world.deserialisations == 1


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
        fill_evenly(backend.inputs, 30, 0.5)
        backend.run()
        assert np.allclose(
            backend.outputs["probability"], tiny_even_probability(30, 0.5), atol=1e-6
        )
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
        fill_evenly(backend.inputs, 60, 0.5)
        backend.run()
        assert np.allclose(
            backend.outputs["probability"], tiny_even_probability(60, 0.5), atol=1e-6
        )
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
        fill_evenly(backend.inputs, 60, 0.5)
        backend.run()
        assert np.allclose(
            backend.outputs["probability"], tiny_even_probability(60, 0.5), atol=1e-6
        )
        backend.close()
        assert not bed.errors()
