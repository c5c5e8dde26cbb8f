"""From checkpoint to camera: one file, held against PyTorch and targets, on two cameras."""

# %% [markdown]
# From checkpoint to camera
# =========================
# A trained network becomes one ONNX file that carries all that is needed, is held against PyTorch
# and against the targets, and segments two cameras.  Run it as a script or cell by cell.
#
#     python examples/tutorials/checkpoint_to_camera.py --checkpoint best.safetensors
#     python examples/tutorials/checkpoint_to_camera.py --rgb 0 --thermal /dev/video2
#
# Without arguments the shipped weights and synthetic cameras are taken.

# %% What this run is
from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import cv2

from differseg.cli import main as differseg
from differseg.data.synthetic import SyntheticScene
from differseg.manifest import Manifest
from differseg.options import size_hw
from differseg.runtime import Segmenter

WEIGHTS = Path(__file__).resolve().parents[2] / "differseg/weights/differseg-edge.safetensors"
parser = argparse.ArgumentParser(description="from a checkpoint to masks of two cameras")
parser.add_argument("--checkpoint", type=Path, default=WEIGHTS)
parser.add_argument(
    "--size", type=size_hw, default=(256, 320), help="height x width, such as 256x320"
)
parser.add_argument("--rgb", default="synthetic:seed=3", help="camera, file, folder or address")
parser.add_argument("--thermal", default="synthetic:seed=3")
parser.add_argument("--seconds", type=float, default=5.0)
parser.add_argument("--out", type=Path, default=Path("runs/camera"))
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
model = options.out / "model.onnx"


def step(command: str) -> None:
    """Show and run a command as on a terminal; a failing one ends the script."""
    print(f"\n$ differseg {command}", flush=True)
    status = differseg(shlex.split(command))
    if status != 0:
        sys.exit(status)


# %% [markdown]
# Export
# ------
# The file holds normalisation, sizes, classes, threshold and thermal policy, so there is no second
# configuration to get wrong.  The export compares it with PyTorch and leaves no file that fails.

# %%
height, width = options.size
step(f"export --checkpoint {options.checkpoint} --size {height}x{width} -o {model}")
with Segmenter(model) as segmenter:
    manifest: Manifest = segmenter.manifest
print(f"inputs: {', '.join(f'{spec.name} {spec.size_hw}' for spec in manifest.inputs)}")

# %% [markdown]
# Check and compare
# -----------------
# `check` says per node whether a target takes the file.  `parity` compares in task terms: pixels
# that flip, IoU of the masks, and the loss against labels where there are some.

# %%
step(f"check {model} --target jetpack6")
step(f"parity {options.checkpoint} {model} --limit 2 --report {options.out / 'parity.html'}")

# %% [markdown]
# One pair of frames from Python
# ------------------------------
# OpenCV reads BGR; the segmenter is told so.  The mask has the frame's size, whatever the model's.
# The thermal frame must lie on the RGB frame: of real cameras it is warped first, by
# `differseg.runtime.Registration.load("registration.json").warp(thermal)`; here it is only resized.

# %%
scene = SyntheticScene(3, size_wh=(640, 480))
frame = cv2.cvtColor(scene.rgb(0.0), cv2.COLOR_RGB2BGR)
with Segmenter(model, color_order="BGR") as segmenter:
    result = segmenter(rgb=frame, thermal=cv2.resize(scene.thermal(0.0), (640, 480)))
print(f"mask {result.mask.shape}, {100 * result.coverage:.1f} % foreground")
cv2.imwrite(str(options.out / "mask.png"), 255 * result.mask)

# %% [markdown]
# Two cameras
# -----------
# The pair is matched in time, the thermal frame is warped into the RGB view, and every dropped
# frame is counted with its cause.  For real cameras: `differseg register` first, `--preview` for a
# page in the browser, and jetson/README.md for the service.

# %%
step(
    f"run --model {model} --rgb {options.rgb} --thermal {options.thermal} "
    f"--seconds {options.seconds:g} --headless --out {options.out / 'seen'}"
)
