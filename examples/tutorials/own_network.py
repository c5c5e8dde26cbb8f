"""Add your own network: from our blocks to a file that runs."""

# %% [markdown]
# Add your own network
# ====================
# A network of your own from our blocks: trained in plain PyTorch, exported to one file of standard
# operators, compared, and run.  All blocks, and how it becomes a named network that `differseg
# train` knows, stand in docs/your-own-network.md.

# %% What this run is
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from differseg.checkpoints import save_checkpoint
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.export import export_onnx
from differseg.export.manifest_builder import build_manifest
from differseg.export.parity import compare_deployment
from differseg.export.parity_data import load_samples
from differseg.losses import deep_supervision_loss
from differseg.manifest import ClassSpec, WeightsRecord
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule, Normalize
from differseg.models.spec import MODALITIES, ModelSpec
from differseg.modules.freqfusion import FreqFusion
from differseg.modules.heads import SegmentationHead
from differseg.runtime import Segmenter

parser = argparse.ArgumentParser(description="a network of your own, to a file that runs")
parser.add_argument("--out", type=Path, default=Path("runs/own_network"))
parser.add_argument("--steps", type=int, default=100)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)

# %% [markdown]
# The network
# -----------
# The spec says what goes in and what comes out; `forward` gives logits at the input's size.

# %%
SIZE_HW = (96, 128)
CLASSES = (ClassSpec(0, "background", (0, 0, 0)), ClassSpec(1, "object", (255, 64, 32)))
SPEC = ModelSpec("tiny", "own", "rgb", MODALITIES["rgb"], CLASSES, SIZE_HW, multiple=4)


class Tiny(SegmentationModel):
    """Two convolutions, FreqFusion between their levels, and a head."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.fine = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.join = FreqFusion(16, 32)
        self.head = SegmentationHead(16 + 32, scale=2)

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return logits (N, 1, H, W) of RGB (N, 3, H, W)."""
        fine = self.fine(rgb)  # (N, 16, H/2, W/2)
        coarse = self.coarse(fine)  # (N, 32, H/4, W/4)
        return {"logits": self.head(torch.cat(self.join(fine, coarse), dim=1))}


network = Tiny(SPEC)

# %% [markdown]
# Train it
# --------
# Blocks have ordinary parameters and gradients; any loop will do.

# %%
samples = SyntheticDataset(16, seed=1, size_hw=SIZE_HW)
frames = torch.from_numpy(np.stack([samples[index]["rgb"] for index in range(len(samples))]))
masks = torch.from_numpy(np.stack([samples[index]["mask"] == 1 for index in range(len(samples))]))
normalize = Normalize(SPEC)
optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
losses = []
for number in range(options.steps):
    chosen = [(4 * number + place) % len(samples) for place in range(4)]
    inputs = normalize({"rgb": frames[chosen].permute(0, 3, 1, 2).float() / 255})
    loss = deep_supervision_loss(network(*inputs.values()), masks[chosen, None].float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} after {options.steps} steps")
save_checkpoint(options.out / "tiny.safetensors", network)

# %% [markdown]
# Export, compare, run
# --------------------
# `DeploymentModule` wraps the camera's side around a copy of the network: bytes in, normalisation
# inside, probability out.

# %%
module = DeploymentModule(network)
file = options.out / "tiny.onnx"
manifest = build_manifest(SPEC, SIZE_HW, weights=WeightsRecord("tutorial: 16 synthetic scenes"))
example = module.raw_inputs_example(SIZE_HW)
written = export_onnx(module, example, file, manifest=manifest, strip="model.")
print(f"{written.nodes} nodes, largest difference from PyTorch {written.max_error:.1e}")
parity = compare_deployment(module, str(file), load_samples(manifest.inputs, None, 2))
print(f"parity passed: {parity.passed}")
with Segmenter(file) as segmenter:
    result = segmenter(rgb=frames[0].numpy())
print(
    f"{100 * result.coverage:.1f} % foreground; next: differseg run --model {file} --rgb synthetic:"
)
