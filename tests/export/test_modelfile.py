"""Files written whole or not at all, and a manifest that is added to the end."""

from __future__ import annotations

import onnx
import pytest
from planted_graphs import planted

from differseg.errors import ManifestError
from differseg.export.manifest_builder import build_manifest
from differseg.export.modelfile import append_manifest, manifest_of, read_model, written_whole
from differseg.manifest import ThermalPolicy, WeightsRecord
from differseg.models.spec import BINARY_CLASSES, MODALITIES, ModelSpec


def spec(task) -> ModelSpec:
    return ModelSpec("toy", "differseg", task, MODALITIES[task], BINARY_CLASSES, (64, 96))


@pytest.mark.parametrize("task", ["rgb", "rgbd", "rgbt", "video"])
def test_a_manifest_comes_back_from_the_file(tmp_path, task):
    path = tmp_path / "model.onnx"
    path.write_bytes(planted("Relu").SerializeToString())
    before = read_model(path)
    manifest = build_manifest(
        spec(task), (64, 96), weights=WeightsRecord("random (seed 0)"),
        thermal_policy=ThermalPolicy(low_percentile=2.0),
    )  # fmt: skip
    append_manifest(path, manifest)
    after = read_model(path)
    assert manifest_of(before) is None
    assert manifest_of(after) == manifest
    assert after.graph == before.graph
    onnx.checker.check_model(str(path))
    assert manifest.inputs[0].shape == (1, 64, 96, 3)
    assert manifest.outputs[0].shape == (1, 1, 64, 96)
    assert {"torch", "onnx", "differseg"} <= set(manifest.tools)
    thermal = manifest.input("thermal")
    assert (thermal is not None) == (task == "rgbt")
    if thermal is not None:
        assert thermal.thermal_policy == ThermalPolicy(low_percentile=2.0)
        decided = {decision.what: decision.reason for decision in manifest.decisions}
        assert decided["thermal policy"] == "stored with the checkpoint"


def test_a_second_manifest_is_neither_written_nor_read(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(planted("Relu").SerializeToString())
    manifest = build_manifest(
        spec("rgb"), (64, 96), weights=WeightsRecord("random (seed 0)"), thermal_policy=None
    )
    append_manifest(path, manifest)
    once = path.read_bytes()
    with pytest.raises(ManifestError, match="holds a manifest already"):
        append_manifest(path, manifest)
    assert path.read_bytes() == once
    model = read_model(path)
    model.metadata_props.append(model.metadata_props[0])
    with pytest.raises(ManifestError, match="holds 2 manifests, expected one"):
        manifest_of(model)


def test_a_damaged_manifest_is_named(tmp_path):
    path = tmp_path / "model.onnx"
    model = planted("Relu")
    model.metadata_props.add(key="differseg", value='{"schema": 1, "modle": "x"}')
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ManifestError, match="modle"):
        manifest_of(read_model(path))


def test_folders_are_made_and_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "model.onnx"
    with written_whole(path) as part:
        part.write_bytes(b"x")
        assert part.name == "model.onnx"
        assert not path.exists()
    assert path.read_bytes() == b"x"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keep", [False, True])
def test_a_failure_leaves_the_file_only_when_asked(tmp_path, keep):
    path = tmp_path / "model.onnx"

    def fail() -> None:
        with written_whole(path, keep_failed=keep) as part:
            part.write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.exists() == keep
    assert [p for p in tmp_path.iterdir() if p != path] == []
