"""``export --precision fp16``: a typed file, every decision in its manifest, and its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_graphs import HALF, tiny_network

from differseg.errors import InputError
from differseg.export import check
from differseg.export.modelfile import manifest_of, read_model
from differseg.export.precision import typed_half
from differseg.export.to_onnx import export_model
from differseg.runtime.segmenter import Segmenter

SIZE = (96, 128)


@pytest.fixture(scope="module")
def half_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("half") / "sfm.onnx"
    report = export_model(path, model="sfm-edge", size=SIZE, precision="fp16", limit=1, real=False)
    return path, report


def test_the_file_is_typed_and_says_why(half_file):
    path, report = half_file
    manifest = manifest_of(read_model(path))
    assert manifest == report.manifest
    assert manifest.precision == "fp16"
    first, *others = (d for d in manifest.decisions if d.value == "float32" or "nodes" in d.value)
    assert first.what == "precision"
    assert "float16 in" in first.value
    assert others
    assert all(d.reason for d in others)
    numbers = {HALF: 0, onnx.TensorProto.FLOAT: 0}
    for tensor in read_model(path).graph.initializer:
        if tensor.data_type in numbers:
            numbers[tensor.data_type] += int(np.prod(tensor.dims))
    assert numbers[HALF] > 10 * numbers[onnx.TensorProto.FLOAT]


def test_its_figures_are_those_of_rounded_numbers(half_file):
    _, report = half_file
    parity = report.manifest.parity
    assert 1e-5 < parity.max_error < 0.01  # random weights: no probability is far from 1/19


def test_targets_take_it(half_file):
    for target in ("jetpack6", "jetpack7", "trt11.4"):
        assert check(half_file[0], target).passed


def test_the_runtime_runs_it(half_file):
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    with Segmenter(half_file[0]) as segmenter:
        assert segmenter(rgb=rgb).mask.shape == SIZE


def test_float16_inputs_and_outputs(tmp_path):
    report = export_model(
        tmp_path / "io.onnx", model="differseg-edge", size=SIZE, precision="fp16", io="fp16",
        limit=1, real=False,
    )  # fmt: skip
    graph = read_model(tmp_path / "io.onnx").graph
    assert graph.output[0].type.tensor_type.elem_type == HALF
    by_name = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    assert by_name == {"rgb": onnx.TensorProto.UINT8, "thermal": HALF}
    assert report.manifest.input("thermal").dtype == "float16"
    rgb = np.zeros((*SIZE, 3), np.uint8)
    with Segmenter(tmp_path / "io.onnx") as segmenter:
        assert segmenter(rgb=rgb, thermal=rgb[..., 0]).mask.shape == SIZE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"io": "fp16"}, "add --precision fp16"),
        ({"precision": "fp16", "ops": "function"}, "an fp16 file takes portable or plugin"),
    ],
)
def test_options_that_do_not_go_together(options, words, tmp_path: Path):
    with pytest.raises(InputError, match=words):
        export_model(tmp_path / "a.onnx", model="differseg-edge", **options)
    assert not list(tmp_path.iterdir())


def test_a_typed_graph_is_not_typed_again():
    feeds = [{"x": np.random.default_rng(0).random((1, 3, 40, 48), np.float32)}]
    half, report = typed_half(tiny_network(), feeds)
    assert report.half_nodes == 6
    with pytest.raises(InputError, match="is float16"):
        typed_half(half, feeds)
