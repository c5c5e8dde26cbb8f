"""Modules that have no ONNX form are refused in one line that says which part it is."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from differseg.errors import CheckFailedError, InputError, MissingComponentError
from differseg.export import export_onnx
from differseg.ops import dwt2


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


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1)


def test_a_module_of_one_batch_size_is_refused_with_what_to_write(tmp_path: Path) -> None:
    example = {"x": torch.rand(2, 3, 4)}
    with pytest.raises(InputError, match=r"takes a batch of any size: use x\.shape\[0\]"):
        export_onnx(FixedBatch(), example, tmp_path / "f.onnx", dynamic_batch=True)


def test_an_example_of_one_picture_gives_a_batch_of_any_size(tmp_path: Path) -> None:
    example = {"x": torch.rand(1, 3, 4)}
    export_onnx(nn.Linear(4, 2), example, tmp_path / "f.onnx", dynamic_batch=True)
    (given,) = onnx.load(tmp_path / "f.onnx").graph.input
    assert given.type.tensor_type.shape.dim[0].dim_param == "batch"


class Rolled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fftshift(x)


def test_a_shift_of_a_varying_batch_is_refused_by_name(tmp_path: Path) -> None:
    example = {"x": torch.rand(2, 3, 4)}
    said = (
        r"aten\.roll\.default \(node 'roll', from the module itself\): it rolls an axis that varies"
    )
    with pytest.raises(InputError, match=said):
        export_onnx(Rolled(), example, tmp_path / "f.onnx", dynamic_batch=True)


class OnlyTraced(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            raise RuntimeError("expected scalar type Half\nbut found Float")
        return x * 2


def test_a_module_that_fails_on_its_example_is_the_user_s_mistake(tmp_path: Path) -> None:
    said = r"OnlyTraced: .* fails on the example inputs \(RuntimeError: expected .* Float\)"
    with pytest.raises(InputError, match=said) as caught:
        export_onnx(OnlyTraced(), {"x": torch.rand(1, 4)}, tmp_path / "f.onnx")
    assert "\n" not in str(caught.value)


def _calling(call: Callable[[Tensor], object]) -> nn.Module:
    module = nn.Identity()
    module.forward = call  # type: ignore[assignment]
    return module


def test_an_operator_s_own_error_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = {"x": torch.rand(1, 2, 16, 18)}
    module = _calling(lambda x: dwt2(x, "coif3"))
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(MissingComponentError) as direct:
        module(example["x"])
    with pytest.raises(MissingComponentError) as caught:
        export_onnx(module, example, tmp_path / "f.onnx")
    assert str(caught.value) == str(direct.value)


def test_only_a_branch_on_values_is_called_one(tmp_path: Path) -> None:
    example = {"x": torch.rand(1, 3, 8, 8)}
    with pytest.raises(InputError, match="must not branch on tensor values"):
        export_onnx(_calling(lambda x: x if x.sum() > 0 else -x), example, tmp_path / "f.onnx")
    with pytest.raises(InputError, match="see that the module runs on the example") as caught:
        export_onnx(nn.Conv2d(4, 4, 1), example, tmp_path / "f.onnx")
    assert "branch" not in str(caught.value)


def test_bfloat16_is_refused_by_name(tmp_path: Path) -> None:
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(InputError, match=r"example input 'x' is bfloat16, .* float32 or float16"):
        export_onnx(nn.ReLU(), {"x": x.bfloat16()}, tmp_path / "f.onnx")
    with pytest.raises(InputError, match="Conv2d: weight is bfloat16"):
        export_onnx(nn.Conv2d(3, 3, 1).bfloat16(), {"x": x}, tmp_path / "f.onnx")


def test_bytes_that_are_an_output_stay_bytes(tmp_path: Path) -> None:
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.permute(0, 3, 1, 2)
        return y, y.float()

    example = {"x": torch.randint(0, 255, (1, 5, 6, 3), dtype=torch.uint8)}
    export_onnx(_calling(both), example, tmp_path / "f.onnx")
    outputs = onnx.load(tmp_path / "f.onnx").graph.output
    kinds = [output.type.tensor_type.elem_type for output in outputs]
    assert kinds == [onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT]


def _failing(_self: object, path: str, *_args: object, **_options: object) -> None:
    raise RuntimeError(f"Load model from {path} failed")


def test_an_output_of_another_type_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "run",
        lambda *given: [array.astype("float64") for array in run(*given)],
    )
    with pytest.raises(CheckFailedError, match="Runtime gives float64, expected PyTorch's float32"):
        export_onnx(nn.ReLU(), {"x": torch.rand(1, 4)}, tmp_path / "f.onnx")


def test_the_temporary_folder_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", _failing)
    with pytest.raises(CheckFailedError, match=r"graph: Load model from f\.onnx failed$"):
        export_onnx(nn.ReLU(), {"x": torch.rand(1, 4)}, tmp_path / "f.onnx")


def test_large_values_are_compared_in_proportion(tmp_path: Path) -> None:
    torch.manual_seed(0)
    example = {"x": torch.rand(1, 3, 64, 64) * 1e4}
    result = export_onnx(nn.Conv2d(3, 8, 7), example, tmp_path / "f.onnx")
    assert result.max_error is not None
    assert result.max_error > 1e-4


def test_nothing_is_said_beside_the_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def emptied(x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 3:1] = 0
        return y

    module = nn.Identity()
    module.forward = emptied  # type: ignore[method-assign]
    export_onnx(module, {"x": torch.rand(2, 4)}, tmp_path / "f.onnx")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
