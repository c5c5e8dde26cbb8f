"""Folding batch normalisation changes the graph and not the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import nn

from differseg.export.batchnorm import fold_batchnorm
from differseg.export.trace import trace


class Shared(nn.Module):
    """One convolution, two normalisations of its results."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.conv(self.first(self.conv(x))))


class ReadTwice(nn.Module):
    """The convolution's own result is an output as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.conv(x)
        return y.relu(), self.bn(y)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.bn = nn.Linear(4, 6), nn.BatchNorm1d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.linear(x.mean((2, 3))))


CASES = {
    "conv": (nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)), 1, 0),
    "grouped conv": (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)), 1, 0),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6)), 1, 0),
    "grouped transposed": (
        nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2, groups=2), nn.BatchNorm2d(6)), 1, 0,
    ),
    "linear": (Linear(), 1, 0),
    "alone": (nn.BatchNorm2d(4), 0, 1),
    "after relu": (nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)), 0, 1),
    "without affine": (nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)), 1, 0),
    "shared conv": (Shared(), 2, 0),
    "read twice": (ReadTwice(), 0, 1),
}  # fmt: skip


@pytest.mark.parametrize(("module", "folded", "rewritten"), CASES.values(), ids=list(CASES))
def test_the_numbers_stay_the_same(module, folded, rewritten):
    generator = torch.Generator().manual_seed(3)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
            if part.affine:
                nn.init.normal_(part.weight, generator=generator)
                nn.init.normal_(part.bias, generator=generator)
    x = torch.rand((2, 4, 6, 6), generator=generator)
    model = trace(module, {"x": x})
    from onnxscript import optimizer

    optimizer.fold_constants(model)
    assert fold_batchnorm(model) == (folded, rewritten)
    proto = ir.to_proto(model)
    assert "BatchNormalization" not in [node.op_type for node in proto.graph.node]
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        expected = module.eval()(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for want, got in zip(expected, session.run(None, {"x": x.numpy()}), strict=True):
        np.testing.assert_allclose(got, want.numpy(), atol=2e-6, rtol=1e-5)
