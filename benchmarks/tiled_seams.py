"""Seams of every edge configuration: python benchmarks/tiled_seams.py.

PyTorch, synthetic scenes of 960x1280 in tiles of the network's own size.  Networks without shipped
weights have seeded random ones: their masks mean nothing, but what they do at their borders, and
how far they look, is the architecture's.  ``difference`` is the mean distance to the probabilities
of the whole scene in one pass, by the standard deviation of those; the seam is that of
tiled_inference.py.
"""

from __future__ import annotations

import numpy as np
import torch
from tiled_inference import steps_at_borders

from differseg.checkpoints import load_named, shipped_weights
from differseg.data.synthetic import SyntheticScene
from differseg.manifest import ThermalPolicy
from differseg.models import create_model, list_models
from differseg.models.base import SegmentationModel
from differseg.models.deployment import DeploymentModule
from differseg.models.tiled import tiled_forward
from differseg.runtime.thermal import ThermalMapper
from differseg.runtime.tiling import plan_tiles

FRAME_HW = (960, 1280)
SEEDS = (9300001, 9300002, 9300003)


def raw_inputs(seed: int) -> dict[str, torch.Tensor]:
    """Return what deployment modules take of one scene."""
    sample = SyntheticScene(seed, FRAME_HW[::-1], thermal_size_wh=(320, 256)).sample(1.0)
    unit = ThermalMapper(ThermalPolicy()).map(sample["thermal"])
    return {
        "rgb": torch.from_numpy(sample["rgb"])[None],
        "thermal": torch.from_numpy(unit)[None, None],
    }


def network_of(name: str) -> SegmentationModel:
    """Return a network with its shipped weights, or seeded random ones."""
    file = shipped_weights(name)
    if file is not None:
        return load_named(file, name)
    torch.manual_seed(0)
    return create_model(name)


@torch.inference_mode()
def main() -> None:
    """Print one line for each network that takes rgb, alone or with thermal."""
    scenes = [raw_inputs(seed) for seed in SEEDS]
    print(f"{'network':<26}{'difference':>12}{'seam':>8}{'no overlap':>12}")
    for info in list_models():
        if not info.name.endswith("edge") or not set(info.inputs) <= {"rgb", "thermal"}:
            continue
        module = DeploymentModule(network_of(info.name))
        distances, seams = [], {0.25: ([], []), 0.0: ([], [])}
        for scene in scenes:
            inputs = {name: scene[name] for name in info.inputs}
            whole = module(*inputs.values())
            for overlap, (borders, controls) in seams.items():
                maps = tiled_forward(module, inputs, info.size_hw, overlap)
                if overlap:
                    distances.append(float((maps - whole).abs().mean() / whole.std()))
                plan = plan_tiles(FRAME_HW, info.size_hw, overlap)
                found = steps_at_borders(maps[0, -1].numpy(), plan, info.size_hw)
                borders += found[0]
                controls += found[1]
        ratios = [float(np.median(b) / np.median(c)) for b, c in seams.values()]
        print(
            f"{info.name:<26}{np.mean(distances):>12.3f}{ratios[0]:>8.2f}{ratios[1]:>12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
