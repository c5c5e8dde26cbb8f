from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import helper
from tiny_network import tiny_manifest, tiny_onnx, write_model

from differseg.errors import (
    DifferSegError,
    InputError,
    ManifestError,
    MissingComponentError,
    ModelFileError,
)
from differseg.manifest import OutputSpec
from differseg.runtime.backends import open_backend
from differseg.runtime.model_file import read_manifest


def refusal(path: Path, kind: type[DifferSegError] = ModelFileError) -> str:
    """What opening the file for running says, checked to be one line with the path."""
    with pytest.raises(kind) as caught:
        open_backend(path)
    text = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in text
    assert str(path) in text
    return text


def test_the_manifest_comes_back_as_written(tiny_model: Path) -> None:
    assert read_manifest(tiny_model) == tiny_manifest()


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.onnx")


def test_a_folder(tmp_path: Path) -> None:
    assert "a folder" in refusal(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    assert "empty (0 bytes)" in refusal(path)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file(tiny_model: Path, tmp_path: Path, part: float) -> None:
    data = tiny_model.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * part)])
    assert "truncated or of another kind" in refusal(path)


@pytest.mark.parametrize("data", [b"hello world\n" * 9, b"PK\x03\x04" + bytes(500), b"\xff" * 64])
def test_a_file_of_another_kind(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    refusal(path)


def test_a_checkpoint_says_how_to_export(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"x")
    assert f"differseg export --model NAME --checkpoint {path}" in refusal(path)


@pytest.mark.parametrize("name", ["model.engine", "model.plan"])
def test_an_engine_is_no_onnx_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=r"onnxruntime reads \.onnx files"):
        open_backend(tmp_path / name, "onnxruntime")
    with pytest.raises(ModelFileError, match="a TensorRT engine; expected an"):
        read_manifest(tmp_path / name)


def test_a_file_without_a_manifest_says_how_to_export(tmp_path: Path) -> None:
    text = refusal(write_model(tmp_path / "foreign.onnx", tiny_onnx(), None))
    assert "another tool wrote it" in text
    assert "differseg export" in text


def test_a_manifest_of_another_schema(tmp_path: Path) -> None:
    document = json.loads(tiny_manifest().to_json())
    document["schema"] = 99
    path = write_model(tmp_path / "future.onnx", tiny_onnx(), json.dumps(document))
    assert "reads schema 1, got 99" in refusal(path, ManifestError)


def test_two_manifests(tiny_model: Path, tmp_path: Path) -> None:
    second = onnx.ModelProto()
    second.metadata_props.add(key="differseg", value=tiny_manifest().to_json())
    path = tmp_path / "two.onnx"
    path.write_bytes(tiny_model.read_bytes() + second.SerializeToString())
    assert "it holds 2 manifests, expected one" in refusal(path, ManifestError)


def test_a_manifest_with_a_wrong_field(tmp_path: Path) -> None:
    document = json.loads(tiny_manifest().to_json())
    document["threshold"] = 2
    path = write_model(tmp_path / "wrong.onnx", tiny_onnx(), json.dumps(document))
    assert "threshold" in refusal(path, ManifestError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "image"}, "inputs are rgb, thermal, the manifest says image, thermal"),
        ({"dtype": "float32"}, "input 'rgb' is uint8, the manifest says float32"),
        (
            {"shape": (1, 32, 24, 3)},
            "input 'rgb' is [1, 16, 24, 3], the manifest says [1, 32, 24, 3]",
        ),
    ],
    ids=["name", "dtype", "shape"],
)
def test_an_input_that_the_graph_has_otherwise(tmp_path: Path, change: dict, said: str) -> None:
    rgb, thermal = tiny_manifest().inputs
    manifest = tiny_manifest(inputs=(replace(rgb, **change), thermal))
    assert said in refusal(write_model(tmp_path / "other.onnx", tiny_onnx(), manifest))


def test_an_output_that_the_graph_has_otherwise(tmp_path: Path) -> None:
    manifest = tiny_manifest(outputs=(OutputSpec("mask", "probability", (1, 1, 16, 24)),))
    text = refusal(write_model(tmp_path / "other.onnx", tiny_onnx(), manifest))
    assert "outputs are probability, the manifest says mask" in text


def test_an_operator_that_onnx_runtime_lacks(tmp_path: Path) -> None:
    model = tiny_onnx()
    model.graph.node[0].domain = "differseg"
    model.opset_import.append(helper.make_opsetid("differseg", 1))
    text = refusal(write_model(tmp_path / "plugin.onnx", model, tiny_manifest()))
    assert "--ops portable" in text


def test_a_dynamic_size_is_refused(tmp_path: Path) -> None:
    model = tiny_onnx()
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value in (16, 24):
                dim.dim_param = f"size_{dim.dim_value}"
    rgb, thermal = tiny_manifest().inputs
    manifest = tiny_manifest(
        inputs=(replace(rgb, shape=(1, -1, -1, 3)), replace(thermal, shape=(1, 1, -1, -1))),
        outputs=(OutputSpec("probability", "probability", (1, 1, -1, -1)),),
    )
    text = refusal(write_model(tmp_path / "dynamic.onnx", model, manifest))
    assert "--size HxW" in text


def test_weights_outside_the_file_that_are_gone(tmp_path: Path) -> None:
    model = write_model(tmp_path / "inside.onnx", tiny_onnx(), tiny_manifest())
    onnx.save(
        onnx.load(model),
        tmp_path / "split.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (tmp_path / "weights.bin").unlink()
    assert "weights.bin" in refusal(tmp_path / "split.onnx")


def test_without_onnxruntime_the_extra_is_named(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'differseg\[runtime\]'"):
        open_backend(tiny_model, "onnxruntime")


def test_wrong_backend_arguments(tiny_model: Path) -> None:
    with pytest.raises(InputError, match=r"expected one of auto, .*, got 'fastest'"):
        open_backend(tiny_model, "fastest")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 1, got 0"):
        open_backend(tiny_model, threads=0)
