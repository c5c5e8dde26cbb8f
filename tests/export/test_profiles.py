"""Sizes for dynamic graphs: what the user says, what is chosen, and what NVIDIA's builder takes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from planted_graphs import FLOAT, INT64, planted

from differseg import export
from differseg.cli import main
from differseg.errors import InputError
from differseg.export import rtx
from differseg.export.profiles import choose_profiles, read_shapes

needs_rtx = pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")


def dynamic(shape=("n", 3, "h", "w")) -> onnx.ModelProto:
    """Return a convolution whose window is larger than a map of 4x4 pixels."""
    model = planted("Conv", inputs=("x", "w"), constants=[("w", np.ones((1, 3, 7, 7), np.float32))])
    for value, axes in ((model.graph.input[0], shape), (model.graph.output[0], "abcd")):
        value.CopyFrom(helper.make_tensor_value_info(value.name, FLOAT, list(axes)))
    return model


def shape_from_input() -> onnx.ModelProto:
    """Return a reshape of x (1, 4, 8, 8) to what the input ``size`` says."""
    model = planted("Reshape", inputs=("x", "size"))
    model.graph.input[1].CopyFrom(helper.make_tensor_value_info("size", INT64, [2]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["a", "b"]))
    return model


@pytest.fixture
def saved(tmp_path):
    def save(model):
        onnx.save(model, tmp_path / "f.onnx")
        return tmp_path / "f.onnx"

    return save


def test_shapes_are_spelled_as_for_trtexec():
    shapes = read_shapes(["x:1x3x240x320,net/in:0=2x1", "pads:0x-1", "k:5"])
    assert shapes == {"x": [1, 3, 240, 320], "net/in:0": [2, 1], "pads": [0, -1], "k": [5]}


@pytest.mark.parametrize("text", ["x", "x:", "x:1x3x", "x:axb", ":1x3", ""])
def test_what_is_no_shape_is_one_line(text):
    with pytest.raises(InputError, match="expected NAME:1x3x240x320"):
        read_shapes([text])


def test_height_and_width_get_the_sizes_of_pictures_and_the_batch_a_small_range():
    (shapes,) = choose_profiles(dynamic(), {}).values()
    assert shapes == [[1, 3, 256, 256], [1, 3, 256, 256], [4, 3, 512, 512]]
    assert choose_profiles(dynamic((1, 3, 240, 320)), {}) == {}
    assert choose_profiles(dynamic(), {"x": [2, 3, 48, 64]}) == {"x": [[2, 3, 48, 64]] * 3}


def test_numbers_of_an_input_are_no_profile_and_a_free_length_is_one():
    model = shape_from_input()
    assert choose_profiles(model, {"size": [4, 64]}) == {}
    model.graph.input[1].CopyFrom(helper.make_tensor_value_info("size", INT64, ["r"]))
    assert choose_profiles(model, {"size": [7]}) == {"size": [[7]] * 3}


def test_axes_of_one_name_have_one_size():
    model = planted("Add", inputs=("x", "z"), shape=("n", "n", None, None))
    shapes = choose_profiles(model, {})
    assert shapes["x"] == shapes["z"] == [[1, 1, 256, 256], [1, 1, 256, 256], [4, 4, 512, 512]]


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"z": [1]}, "did you mean 'x'"),
        ({"x": [1, 3, 9]}, "the axes nx3xhxw"),
        ({"x": [1, 4, 9, 9]}, "the axes nx3xhxw"),
        ({"x": [1, 3, 9, -9]}, "the axes nx3xhxw"),
    ],
)
def test_a_shape_that_does_not_fit_is_one_line(shapes, said):
    with pytest.raises(InputError, match=said):
        choose_profiles(dynamic(), shapes)


def test_shapes_without_real_are_refused(saved, capsys):
    assert main(["check", str(saved(dynamic())), "--shapes", "x:1x3x64x64"]) == 2
    assert "add --real" in capsys.readouterr().err


@needs_rtx
def test_a_graph_with_free_height_and_width_is_built(saved, capsys):
    assert main(["check", str(saved(dynamic())), "--real"]) == 0
    assert "sizes: x 1x3x256x256 to 4x3x512x512;" in capsys.readouterr().out


@needs_rtx
def test_sizes_that_do_not_go_are_told(saved):
    report = export.check(saved(dynamic()), real=True, shapes={"x": [1, 3, 4, 4]})
    assert not report.passed
    assert "the sizes were x 1x3x4x4, give others with --shapes" in report.reasons()[-1]


@needs_rtx
def test_numbers_that_a_shape_is_made_of_are_asked_for_and_used(saved, capsys):
    path = str(saved(shape_from_input()))
    assert main(["check", path, "--real"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "numbers in input 'size' (axes [2])" in error
    assert "such as --shapes size:8x8" in error
    assert main(["check", path, "--real", "--shapes", "size:4x64"]) == 0
    assert main(["check", path, "--real", "--shapes", "size:4x63"]) == 1
    assert "reshape changes volume" in capsys.readouterr().out
