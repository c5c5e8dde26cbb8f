"""What may be compared: files and checkpoints of one network at one size, and nothing else."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from small_network import SIZE_HW, failed, small_module
from torch import Tensor, nn

from differseg.checkpoints import load_checkpoint, save_checkpoint
from differseg.errors import DifferSegError, InputError, ModelFileError
from differseg.export.exporter import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.parity import parity
from differseg.manifest import WeightsRecord
from differseg.ops import dwt2, idwt2
from differseg.runtime.backends.onnxruntime import OnnxRuntimeBackend

pytestmark = pytest.mark.usefixtures("one_thread")


def test_checkpoints_of_a_network(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    same = parity(checkpoint, checkpoint, folder, limit=1)
    assert same.passed
    assert (same.a.kind, same.a.model, same.size_hw) == ("PyTorch", "differseg-rgb-edge", SIZE_HW)
    assert same.a.weights == "rgb.safetensors, trained on nothing"
    assert same.images[0].label_iou_a is not None
    other = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(p for p in other.parameters() if p.dim() == 4).mul_(1.5)
    save_checkpoint(tmp_path / "other.safetensors", other)
    assert "max error" in failed(
        parity(checkpoint, tmp_path / "other.safetensors", folder, limit=1)
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("absent.onnx", "there is no such file"),
        ("absent.safetensors", "there is no such file"),
        ("m.engine", "TensorRT engines cannot be compared"),
        ("differseg-rgbt", "no weights are shipped for 'differseg-rgbt'"),
        ("diferseg-edge", "did you mean 'differseg-edge'"),
    ],
)
def test_a_wrong_form_is_one_line(model_file: Path, form: str, text: str) -> None:
    with pytest.raises(DifferSegError, match=text) as caught:
        parity(model_file, form)
    assert "\n" not in str(caught.value)


def test_two_sizes_or_modalities_are_refused(
    model_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"takes rgb and thermal, rgb\.safetensors takes rgb"):
        parity(model_file, checkpoint)
    larger = small_module()
    example = larger.raw_inputs_example((96, 96))
    manifest = build_manifest(larger.spec, (96, 96), weights=WeightsRecord("a test"))
    path = tmp_path / "larger.onnx"
    export_onnx(larger, example, path, manifest=manifest, verify=False)
    with pytest.raises(InputError, match=r"small\.onnx is 64x96, larger\.onnx is 96x96"):
        parity(model_file, path)


class Blurred(nn.Module):
    """The small network, its probability through the low band of a wavelet transform and back."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_module()

    def forward(self, rgb: Tensor, thermal: Tensor) -> Tensor:
        return idwt2(dwt2(self.network(rgb, thermal), "db2"), "db2")


def test_plugin_nodes_run_by_their_definitions(model_file: Path, tmp_path: Path) -> None:
    module, path = Blurred(), tmp_path / "plugin.onnx"
    manifest = build_manifest(
        module.network.spec, SIZE_HW, weights=WeightsRecord("a test"), operator_form="plugin"
    )
    example = module.network.raw_inputs_example(SIZE_HW)
    export_onnx(module, example, path, ops="plugin", manifest=manifest)
    assert {n.op_type for n in onnx.load(path).graph.node} >= {"DiffersegDwt2", "DiffersegIdwt2"}
    result = parity(model_file, path, limit=1)
    assert result.passed, result.summary()
    with pytest.raises(ModelFileError, match=r"no operator .*; export the model with --ops port"):
        OnnxRuntimeBackend(path)


def test_an_error_about_plugin_nodes_names_the_users_file(model_file: Path, tmp_path: Path) -> None:
    module, path = Blurred(), tmp_path / "plugin.onnx"
    example = module.network.raw_inputs_example(SIZE_HW)
    export_onnx(module, example, path, ops="plugin", verify=False)
    with pytest.raises(ModelFileError, match="holds no differseg manifest") as caught:
        parity(model_file, path)
    assert str(caught.value).startswith(f"model {path}: ")


def test_a_file_without_manifest_is_refused(model_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(model_file))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "bare.onnx"))
    with pytest.raises(ModelFileError, match="no differseg manifest"):
        parity(model_file, tmp_path / "bare.onnx")
