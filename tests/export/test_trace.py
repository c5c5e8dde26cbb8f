"""Modules that have no ONNX form are refused in one line that says which part it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from differseg.errors import InputError
from differseg.export import export_onnx


class Decomposition(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(x)[0]


class Number(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor | int]:
        return {"logits": x * 2, "count": 3}


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> dict[str, None]:
        return {"aux": None}


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = Branch()

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x * 2)


REFUSED = {
    "no ONNX operator": (Decomposition(), "Decomposition: aten.linalg_qr has no ONNX form"),
    "a number": (Number(), "output 'count': the module returns 3 .int., expected a tensor"),
    "nothing": (Nothing(), "the module returns nothing"),
    "control flow": (Inner(), "Inner: control flow is not exported: If .*from branch"),
    "batch statistics": (
        nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)),
        "batch normalisation '0': .* must be constant, got computed ones; .*track_running_stats",
    ),
}


@pytest.mark.parametrize(("module", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_has_no_onnx_form_is_refused_in_one_line(tmp_path: Path, module, said):
    with pytest.raises(InputError, match=said) as caught:
        export_onnx(module, {"x": torch.rand(4, 4)}, tmp_path / "f.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_any_other_failure_of_the_exporter_is_one_line_too(tmp_path: Path, monkeypatch):
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("outer\ntext") from ValueError("the cause\nin two lines")

    monkeypatch.setattr(torch.onnx, "export", fail)
    said = r"Identity: PyTorch's exporter cannot write it as ONNX \(ValueError: the cause in two"
    with pytest.raises(InputError, match=said) as caught:
        export_onnx(nn.Identity(), {"x": torch.rand(4, 4)}, tmp_path / "f.onnx")
    assert "\n" not in str(caught.value)


def test_an_example_input_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    array = torch.ones(1, 3, 4, 4).numpy()
    with pytest.raises(InputError, match=r"'rgb': expected a torch\.Tensor, got ndarray"):
        export_onnx(nn.ReLU(), {"rgb": array}, tmp_path / "m.onnx")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())
