"""Metadata entries are counted from the bytes, which agree with the onnx package's reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from differseg.errors import ModelFileError
from differseg.onnx_metadata import metadata_values


def model_bytes(*entries: tuple[str, str]) -> bytes:
    weight = numpy_helper.from_array(np.zeros(100_000, np.float32), "w")
    info = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [100_000])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])], "g", [], [info], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    for key, value in entries:
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], []),
        ([("other", "x")], []),
        ([("differseg", "größer"), ("other", "x")], ["größer"]),
        ([("differseg", "a" * 5000), ("x", ""), ("differseg", "")], ["a" * 5000, ""]),
    ],
    ids=["none", "another key", "one", "two"],
)
def test_every_entry_of_the_key_is_found(tmp_path: Path, entries, expected):
    path = tmp_path / "f.onnx"
    path.write_bytes(model_bytes(*entries))
    assert metadata_values(path, "differseg") == expected


def test_an_entry_appended_behind_the_model_is_found(tmp_path: Path):
    part = onnx.ModelProto()
    part.metadata_props.add(key="differseg", value="second")
    path = tmp_path / "f.onnx"
    path.write_bytes(model_bytes(("differseg", "first")) + part.SerializeToString())
    assert metadata_values(path, "differseg") == ["first", "second"]


@pytest.mark.parametrize(
    "data", [model_bytes()[:-9], b"hello world\n" * 9, b"\xff" * 64, b"\x0b"],
    ids=["truncated", "text", "endless number", "unknown kind"],
)  # fmt: skip
def test_what_is_no_onnx_file_is_one_line(tmp_path: Path, data):
    path = tmp_path / "f.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="not an ONNX file, or a truncated one") as caught:
        metadata_values(path, "differseg")
    assert "\n" not in str(caught.value)
