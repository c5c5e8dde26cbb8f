"""Train on your folder: from pairs of images and masks to a judged network."""

# %% [markdown]
# Train on your folder
# ====================
# From pairs of images and masks to a judged network.  Run it as a script, or cell by cell in an
# editor that knows `# %%` (VS Code, PyCharm, Spyder, Jupytext).
#
#     python examples/tutorials/train_on_your_folder.py --data my_folder --label-rule nonzero
#
# Without `--data` a small folder of synthetic street scenes is made, so that you can watch first.

# %% What this run is
from __future__ import annotations

import argparse
from pathlib import Path

import cv2

from differseg.data.folder import FolderDataset
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.evaluate import EvaluateOptions, evaluate, write_evaluation
from differseg.options import size_hw
from differseg.train import train
from differseg.training.options import TrainOptions

parser = argparse.ArgumentParser(description="train the edge network on a folder")
parser.add_argument("--data", type=Path, help="folder with rgb/, thermal/ and labels/")
parser.add_argument("--label-rule", default="auto", help="see docs/training.md")
parser.add_argument("--out", type=Path, default=Path("runs/tutorial"))
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument(
    "--size", type=size_hw, default=(256, 320), help="height x width, such as 256x320"
)
parser.add_argument("--scenes", type=int, default=64, help="scenes of the made-up folder")
options = parser.parse_args()

# %% [markdown]
# The folder
# ----------
# One folder for each input and one for the labels, with equal names.  Numbers in the names matter:
# neighbouring frames look alike, so whole runs of numbers are held out, not single frames.


# %%
def make_folder(folder: Path, scenes: int) -> Path:
    """Write synthetic scenes as a user's own images would lie; returns the folder."""
    for name in ("rgb", "thermal", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    samples = SyntheticDataset(scenes, seed=7, size_hw=options.size)
    for index in range(scenes):
        sample, name = samples[index], f"{1000 * index:06d}.png"
        cv2.imwrite(str(folder / "rgb" / name), sample["rgb"][:, :, ::-1])  # OpenCV writes BGR
        cv2.imwrite(str(folder / "thermal" / name), sample["thermal"])  # 16 bit stays 16 bit
        cv2.imwrite(str(folder / "labels" / name), 255 * (sample["mask"] == 1).astype("uint8"))
    return folder


data = options.data or make_folder(options.out / "folder", options.scenes)
folder = FolderDataset(data, label_rule=options.label_rule)
print(f"{len(folder)} samples; labels by rule '{folder.rule.name if folder.rule else None}'")

# %% [markdown]
# Train
# -----
# From the shipped weights, with a lost thermal camera in a fifth of the samples, because that is a
# normal day.  The same cell again goes on where it stopped, whatever stopped it.  On a terminal:
#
#     differseg train --data DIR --init differseg/weights/differseg-edge.safetensors \
#         --modality-dropout 0.2 --out runs/tutorial/run

# %%
WEIGHTS = Path(__file__).resolve().parents[2] / "differseg/weights/differseg-edge.safetensors"
run = TrainOptions(
    out=options.out / "run",
    data=str(data),
    label_rule=options.label_rule,
    init=WEIGHTS,
    size=options.size,
    epochs=options.epochs,
    batch=4,
    lr=1e-3,
    ema=0.9,
    holdout=0.25,
    modality_dropout=0.2,
    workers=0,
)
summary = train(run)
print(f"best epoch {summary['best_epoch']}, IoU {summary['best']['iou']:.3f} on what was held out")

# %% [markdown]
# Judge
# -----
# On the samples that were held out, at the labels' own size.  `report.html` shows figures, their
# spread over the images, and the worst images: look at these first.

# %%
best = Path(summary["weights"])
judged = evaluate(
    EvaluateOptions(
        file=best,
        data=str(data),
        label_rule=options.label_rule,
        holdout=run.holdout,
        size=options.size,
        worst=4,
    )
)
write_evaluation(judged, options.out / "judged")
print(f"open {options.out / 'judged' / 'report.html'}")
print(f"next: examples/tutorials/checkpoint_to_camera.py --checkpoint {best}")
