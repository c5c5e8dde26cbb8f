"""The graph's inputs and outputs are called what was asked for, whatever the graph does to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.export import export_onnx
from differseg.export.lowering.registry import operator_in
from differseg.export.modelfile import read_model


class Cast(nn.Module):
    """Its uint8 transpose and its cast change places in the graph."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"planes": x.to(torch.uint8).permute(0, 2, 1).float()}


class BytesMoved(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"planes": x.permute(0, 2, 1).float()}


class Shared(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.sigmoid(x)
        return {"probability": y, "confidence": y}


class Equal(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"first": x * 2, "second": x * 2}


class PassedThrough(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"image": x, "brighter": x + 1}


class Constants(nn.Module):
    """Outputs that no node makes, one of them called like the buffer that it is made from."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.arange(3.0))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"raw": self.scale, "sum": x + 1, "scale": self.scale * 2}


class Absent(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor | None]:
        return {"logits": x * 2, "aux": None}


class Nested(nn.Module):
    def forward(self, x: Tensor) -> tuple[dict[str, Tensor | None], list[Tensor]]:
        return {"a": x + 1, "b": None}, [x * 2]


def test_outputs_without_names_are_counted_without_gaps(tmp_path: Path):
    export_onnx(Nested(), {"x": FLOATS}, tmp_path / "f.onnx")
    graph = read_model(tmp_path / "f.onnx").graph
    assert [o.name for o in graph.output] == ["output_0", "output_1"]


FLOATS = torch.rand(1, 3, 3)
BYTES = torch.arange(9, dtype=torch.uint8).view(1, 3, 3)
CASES = {
    "cast": (Cast(), FLOATS, ["planes"]),
    "bytes moved": (BytesMoved(), BYTES, ["planes"]),
    "one value twice": (Shared(), FLOATS, ["probability", "confidence"]),
    "equal values": (Equal(), FLOATS, ["first", "second"]),
    "the input itself": (PassedThrough(), FLOATS, ["image", "brighter"]),
    "constants": (Constants(), FLOATS, ["raw", "sum", "scale"]),
    "None": (Absent(), FLOATS, ["logits"]),
}


@pytest.mark.parametrize(("module", "x", "outputs"), CASES.values(), ids=list(CASES))
def test_outputs_keep_their_names_and_values(tmp_path: Path, module, x, outputs):
    path = tmp_path / "f.onnx"
    export_onnx(module, {"picture": x}, path)
    graph = read_model(path).graph
    assert [i.name for i in graph.input] == ["picture"]
    assert [o.name for o in graph.output] == outputs
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = module(x)
    for name, found in zip(outputs, session.run(outputs, {"picture": x.numpy()}), strict=True):
        np.testing.assert_allclose(found, expected[name].numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "wanted"),
    [(PassedThrough(), ["x", "y"]), (PassedThrough(), ["y", "y"])],
    ids=["input and output", "two outputs"],
)
def test_one_name_for_two_things_is_refused(tmp_path: Path, module, wanted):
    with pytest.raises(InputError, match="stands for two of the graph's inputs and outputs"):
        export_onnx(module, {"x": FLOATS}, tmp_path / "f.onnx", output_names=wanted)
    assert list(tmp_path.iterdir()) == []


class Filtered(nn.Module):
    """Learned, then filtered by frequency, then learned again."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.before(x).relu()
        x = torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=(12, 16))
        return {"y": self.behind(x.relu())}


def test_nodes_of_an_operator_carry_its_name(tmp_path: Path) -> None:
    export_onnx(Filtered(), {"x": torch.randn(1, 2, 12, 16)}, tmp_path / "filtered.onnx")
    graph = read_model(tmp_path / "filtered.onnx").graph
    operators = {node.name: operator_in(node.name) for node in graph.node}
    products = [name for name, operator in operators.items() if "MatMul" in name]
    assert products
    assert {operators[name] for name in products} == {"rfft2", "irfft2"}
    assert not any(operators[node.name] for node in graph.node if node.op_type in ("Conv", "Relu"))
