"""export_onnx on a small network: what is in the file, and what happens to the module."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from toy_network import ToyNetwork, toy_inputs, toy_network

from differseg.errors import CheckFailedError, InputError
from differseg.export import example_check, export_onnx, exporter, rtx
from differseg.export.modelfile import read_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyNetwork, onnx.ModelProto, Path]:
    path = tmp_path_factory.mktemp("toy") / "toy.onnx"
    network = toy_network()
    export_onnx(network, toy_inputs(), path, output_names=["probability"])
    return network, read_model(path), path


def run(path: Path, inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


def test_file_is_valid_opset_17(exported):
    _, model, path = exported
    onnx.checker.check_model(str(path), full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert not model.functions
    assert [i.name for i in model.graph.input] == ["rgb", "thermal"]
    assert [o.name for o in model.graph.output] == ["probability"]
    dims = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    assert dims == [1, 1, 32, 32]


def test_equals_pytorch_in_eval_mode_though_the_module_trains(exported):
    network, _, path = exported
    assert network.training
    inputs = toy_inputs()
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(**inputs).numpy()
    assert np.abs(run(path, inputs)[0] - expected).max() <= 1e-6


def test_every_batch_normalisation_is_gone(exported):
    _, model, _ = exported
    ops = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in ops
    names = [node.name for node in model.graph.node]
    assert {"bn_alone/Mul", "bn_alone/Add"} <= set(names)
    assert not [name for name in names if name.startswith(("bn_up", "blocks.0.bn"))]


def test_nothing_in_the_graph_is_idle(exported):
    _, model, _ = exported
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    made = {name for node in graph.node for name in node.output}
    assert {t.name for t in graph.initializer} <= read
    assert made <= read | {"probability"}
    ops = [node.op_type for node in graph.node]
    assert not {"Identity", "Dropout", "Constant", "Shape", "Expand"} & set(ops)
    assert ops.count("Cast") == 1, "only the uint8 input is cast"
    blobs = [(t.data_type, tuple(t.dims), t.raw_data) for t in graph.initializer]
    assert len(set(blobs)) == len(blobs), "equal constants are stored once"
    assert not [n for n in graph.node if n.doc_string or n.metadata_props]


def test_names_come_from_the_modules(exported):
    _, model, _ = exported
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {"blocks.0.conv/Conv", "blocks.1.depthwise/Conv", "up/ConvTranspose"} <= set(names)
    path = r"(?:[a-z_]+[0-9]*(?:\.[a-z_0-9]+)*/)?"
    assert [name for name in names if not re.fullmatch(rf"{path}[A-Z]\w*", name)] == []
    values = [name for node in model.graph.node for name in node.output]
    assert [v for v in values if not re.search(r"_output_\d+$", v)] == ["probability"]
    constants = {tensor.name for tensor in model.graph.initializer}
    assert {"blocks.0.conv.weight", "blocks.0.conv.bias", "head.weight"} <= constants
    assert not [name for name in constants if name.startswith(("val_", "getitem", "node_"))]


def test_the_uint8_input_is_cast_before_it_is_moved(exported):
    _, model, _ = exported
    (reader,) = [node for node in model.graph.node if "rgb" in node.input]
    assert reader.op_type == "Cast"


@pytest.mark.skipif(not rtx.is_available(), reason="TensorRT-RTX is not installed")
def test_nvidia_accepts_it(exported):
    report = rtx.build(exported[2])
    assert report.passed, report.reason


def test_two_exports_give_the_same_bytes(exported, tmp_path):
    network, _, path = exported
    export_onnx(network, toy_inputs(), tmp_path / "toy.onnx", output_names=["probability"])
    assert (tmp_path / "toy.onnx").read_bytes() == path.read_bytes()


def test_the_module_is_left_as_it_was(tmp_path):
    network = toy_network()
    network.blocks[1].eval()
    flags = [part.training for part in network.modules()]
    state = copy.deepcopy(network.state_dict())
    grads = [p.requires_grad for p in network.parameters()]
    export_onnx(network, toy_inputs(), tmp_path / "toy.onnx")
    assert [part.training for part in network.modules()] == flags
    assert [p.requires_grad for p in network.parameters()] == grads
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_training_flags_come_back_after_a_failure(tmp_path):
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if bool(x.sum() > 0) else x

    network = Branching().train()
    with pytest.raises(InputError, match=r"Branching: torch.export cannot trace it .*branch"):
        export_onnx(network, {"x": torch.ones(1, 3)}, tmp_path / "no.onnx")
    assert network.training
    assert list(tmp_path.iterdir()) == []


class TwoOutputs(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": x * 2, "features": x + 1}


def test_outputs_are_called_after_the_keys_of_a_dict(tmp_path):
    export_onnx(TwoOutputs(), {"image": torch.rand(1, 3)}, tmp_path / "two.onnx")
    model = read_model(tmp_path / "two.onnx")
    assert [o.name for o in model.graph.output] == ["logits", "features"]


def test_a_wrong_number_of_output_names_is_refused(tmp_path):
    with pytest.raises(InputError, match="returns 2 tensors in eval mode \\(logits, features\\)"):
        export_onnx(TwoOutputs(), {"x": torch.rand(1, 3)}, tmp_path / "f.onnx", output_names=["y"])


def test_the_batch_can_stay_free(tmp_path):
    path, network = tmp_path / "batch.onnx", toy_network()
    export_onnx(network, toy_inputs(batch=2), path, dynamic_batch=True)
    shape = read_model(path).graph.input[0].type.tensor_type.shape
    assert shape.dim[0].dim_param == "batch"
    inputs = toy_inputs(batch=3)
    with torch.no_grad():
        expected = network.eval()(**inputs).numpy()
    assert np.abs(run(path, inputs)[0] - expected).max() <= 1e-6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ops": "native"}, "ops: expected portable .* got 'native'"),
        ({"opset": 20}, "opset: expected one of 17, 18, got 20"),
        ({"opset": 16}, "got 16"),
    ],
)
def test_what_is_not_written_is_refused_in_one_line(tmp_path, options, said):
    with pytest.raises(InputError, match=said) as caught:
        export_onnx(TwoOutputs(), {"x": torch.rand(1, 3)}, tmp_path / "f.onnx", **options)
    assert "\n" not in str(caught.value)


def test_an_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/f.onnx: cannot be written"):
        export_onnx(TwoOutputs(), {"x": torch.rand(1, 3)}, tmp_path / "file" / "f.onnx")
    with pytest.raises(InputError, match="is a folder; name the file"):
        export_onnx(TwoOutputs(), {"x": torch.rand(1, 3)}, tmp_path)


def test_a_file_that_computes_something_else_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(example_check, "MAX_ERROR", -1.0)
    with pytest.raises(CheckFailedError, match="differs from PyTorch by 0"):
        export_onnx(TwoOutputs(), {"x": torch.rand(1, 3)}, tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


def plant(path: Path, number: float) -> None:
    """Add a number to one weight of the file."""
    model = read_model(path)
    (weight,) = [t for t in model.graph.initializer if t.name == "head.weight"]
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += number
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0.01, r"differs from PyTorch by 0\.0"),
        (float("nan"), "'output': ONNX Runtime computes NaN"),
    ],
    ids=["another weight", "NaN"],
)
def test_a_planted_weight_is_found(tmp_path, monkeypatch, number, said):
    def write_and_plant(model, path):
        written = write(model, path)
        plant(path, number)
        return written

    write = exporter.write_graph
    monkeypatch.setattr(exporter, "write_graph", write_and_plant)
    with pytest.raises(CheckFailedError, match=said):
        export_onnx(toy_network(), toy_inputs(), tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


class Scaled(nn.Module):
    def __init__(self, factor: float, repeats: int = 1) -> None:
        super().__init__()
        self.factor, self.repeats = factor, repeats

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.factor).repeat(self.repeats, 1)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_module_that_computes_no_numbers_is_refused(tmp_path, number):
    with pytest.raises(CheckFailedError, match="'output': PyTorch computes NaN or infinity"):
        export_onnx(Scaled(number), {"x": torch.ones(1, 3)}, tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


class WritesToItsInput(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1) * 2


def test_a_module_that_writes_to_its_input_leaves_the_example_as_it_was(tmp_path):
    example = {"x": torch.ones(1, 3)}
    assert export_onnx(WritesToItsInput(), example, tmp_path / "f.onnx").max_error == 0
    assert torch.equal(example["x"], torch.ones(1, 3))


def test_a_shape_that_would_broadcast_is_another_shape(tmp_path):
    example = {"x": torch.ones(1, 3)}
    export_onnx(Scaled(2.0), example, tmp_path / "f.onnx")
    assert example_check.compare_example(Scaled(2.0), example, tmp_path / "f.onnx") == 0
    with pytest.raises(CheckFailedError, match=r"gives the shape \[1, 3\], expected .* \[4, 3\]"):
        example_check.compare_example(Scaled(2.0, 4), example, tmp_path / "f.onnx")


def test_an_older_file_survives_a_failed_export(tmp_path, monkeypatch):
    path = tmp_path / "f.onnx"
    path.write_bytes(b"older")
    monkeypatch.setattr(example_check, "MAX_ERROR", -1.0)
    with pytest.raises(CheckFailedError):
        export_onnx(TwoOutputs(), {"x": torch.rand(1, 3)}, path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


class Spectrum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(x, norm="ortho").abs()


def test_a_fourier_transform_of_the_user_is_exported_for_every_target(tmp_path):
    from differseg.export import check

    path = tmp_path / "fft.onnx"
    export_onnx(Spectrum(), {"x": torch.rand(1, 1, 8, 8)}, path)
    assert check(path, "jetpack6").passed
    assert "DFT" not in {node.op_type for node in read_model(path).graph.node}
