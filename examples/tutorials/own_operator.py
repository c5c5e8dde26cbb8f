"""Add your own operator: its PyTorch form and its standard ONNX form."""

# %% [markdown]
# Add your own operator
# =====================
# ONNX has no Laplacian, and neither has TensorRT.  An operator here has two forms that are held
# against each other: PyTorch, registered so that it can be traced and differentiated, and standard
# ONNX nodes.  This adds one from outside the package; inside it the two forms would be
# differseg/ops/laplacian.py and export/lowering/laplacian.py.  Run it as a script or cell by cell.

# %% What this run is
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from differseg.export import check, export_onnx, register_lowering
from differseg.export.lowering.framework import Builder, Call, Lowering

parser = argparse.ArgumentParser(description="an operator of your own, to standard ONNX")
parser.add_argument("--out", type=Path, default=Path("runs/own_operator"))
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# The PyTorch form
# ----------------
# Four times a pixel less its four neighbours, zeros beyond the border.  Three parts: the operator,
# its shape for tracing, and its gradient (which is the operator itself, for it is symmetric).

# %%
KERNEL = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])


@torch.library.custom_op("differseg::laplacian", mutates_args=(), schema="(Tensor x) -> Tensor")
def laplacian(x: Tensor) -> Tensor:
    """Return the Laplacian of maps (N, C, H, W)."""
    around = F.pad(x, (1, 1, 1, 1))
    neighbours = around[..., :-2, 1:-1] + around[..., 2:, 1:-1]
    return 4 * x - neighbours - around[..., 1:-1, :-2] - around[..., 1:-1, 2:]


@laplacian.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _gradient(ctx: Any, grad: Tensor) -> Tensor:
    return laplacian(grad)


laplacian.register_autograd(_gradient)
points = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradcheck(laplacian, points)

# %% [markdown]
# The ONNX form
# -------------
# A depthwise convolution.  Constants are computed in NumPy, in float64, and rounded once to the
# type of the graph; a case that cannot be written is refused by `check` with a reason.


# %%
class LowerLaplacian(Lowering):
    """Write the Laplacian as one Conv with a kernel for each channel."""

    op_type = "DiffersegLaplacian"

    def rewrite(self, op: Builder, call: Call) -> ir.Value:
        """Append the Conv and return its result."""
        channels = call.sizes()[0]
        weight = op.constant(np.broadcast_to(KERNEL, (channels, 1, 3, 3)), "laplacian", call.dtype)
        result: ir.Value = op.Conv(
            call.inputs[0], weight, group=channels, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        )
        return result


register_lowering(LowerLaplacian())

# %% [markdown]
# In a network, and out again
# ---------------------------
# The export compares the file with PyTorch.  An oracle that knows neither form settles that both
# are right: here SciPy would do, or a loop over pixels.


# %%
class Sharpened(nn.Module):
    """A convolution of the image and its detail."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return maps (N, 4, H, W) of an image (N, 3, H, W)."""
        return self.mix(torch.cat([image, laplacian(image)], dim=1))


def by_loop(image: np.ndarray) -> np.ndarray:
    """Return the Laplacian of (H, W), pixel by pixel."""
    found = np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        found[y, x] = 4 * image[y, x]
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < image.shape[0] and 0 <= u < image.shape[1]:
                found[y, x] -= image[v, u]
    return found


picture = torch.rand(1, 1, 7, 9)
assert np.allclose(laplacian(picture)[0, 0].numpy(), by_loop(picture[0, 0].numpy()), atol=1e-6)

image = torch.rand(1, 3, 48, 64)
file = options.out / "sharpened.onnx"
result = export_onnx(Sharpened(), {"image": image}, file, output_names=["maps"])
nodes = [node.op_type for node in onnx.load(file).graph.node]
print(f"nodes: {', '.join(nodes)}; largest difference from PyTorch {result.max_error:.1e}")
report = check(file, "jetpack6")
print(f"jetpack6 takes it: {report.passed}")
